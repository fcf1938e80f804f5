"""Which revision is live where. Decides from what controllers record; never bumps a revision itself.

A revision is live on a host when every controller has computed it, the host's bridge has confirmed the newest change
of its program, or at least one as new as that revision, and its agent has made the ports that its flows lead to. One
that changes published ports or limits is live when the agents that it concerns have done that, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol

from sqlalchemy import BigInteger, Boolean, String, and_, bindparam, cast, false, func, or_, select, update
from sqlalchemy.orm import Session

from db import bandwidth, controllers, directory
from db.changes import CURRENT, PROGRESS_CHANNEL, notify
from db.errors import NotFound
from db.hosts import SILENT_AFTER
from db.tables import ChangeRow, Controller, Host, HostStatus, utcnow
from db.transport import NEWEST_TUNNELS
from db.wanted import MESH_CHANGED, PORTS_CHANGED

ALIVE = timedelta(seconds=30)
"""A controller that has recorded nothing for this long does not hold others up."""

_NO_PORTS = "its agent has not made all ports to other hosts and to segments"
_NOT_PUBLISHED = "its agent has not opened and closed all published ports"
_NOT_LIMITED = "its agent does not hold all endpoints to their limits"
_PUBLICATION = "publication"
_OF_AGENTS = (_PUBLICATION, PORTS_CHANGED, MESH_CHANGED, bandwidth.CHANGED)
"""Nouns in the log for what agents do beside the flows."""

State = Literal["applied", "pending", "failed", "disconnected"]


class HostProgress(Protocol):
    """What a controller knows of one host. `wanted`: the newest revision that changed its program; `confirmed`: the
    newest that its bridge has. `drops` are packets by reason, `repaired` flows that had to be put right."""

    @property
    def connected(self) -> bool: ...
    @property
    def wanted(self) -> int: ...
    @property
    def confirmed(self) -> int: ...
    @property
    def error(self) -> str: ...
    @property
    def flows(self) -> int: ...
    @property
    def drops(self) -> Mapping[str, int]: ...
    @property
    def repaired(self) -> int: ...


class HostState(NamedTuple):
    host: str
    state: State
    error: str


class RevisionProgress(NamedTuple):
    revision: int
    state: Literal["applied", "pending", "failed"]
    hosts: list[HostState]

    def document(self) -> dict[str, Any]:
        return {**self._asdict(), "hosts": [host._asdict() for host in self.hosts]}


class Asked(NamedTuple):
    """What a revision asks of agents, by their hosts' ids. `published` are the ids of published ports that came."""

    ports: frozenset[int] = frozenset()
    limits: frozenset[int] = frozenset()
    everywhere: bool = False  # published ports of all hosts
    published: tuple[str, ...] = ()

    @property
    def hosts(self) -> frozenset[int]:
        return self.ports | self.limits


class Lag(NamedTuple):
    """Who keeps revisions from being live at one moment, as far as one look for all who wait can tell."""

    computed: int
    hosts: Sequence[Any]

    def holds_flows(self, revision: int) -> bool:
        """Whether `revision` is pending for sure; what has failed, or waits for tunnels, is looked at closely."""
        if any(host.error or host.lacks_tunnels or host.closes for host in self.hosts):
            return False
        return self.computed < revision or any(
            host.connected and host.confirmed_revision < revision <= host.wanted_revision for host in self.hosts
        )

    def holds_names(self, revision: int, concerned: Collection[int]) -> bool:
        """Whether one of the hosts `concerned`, by id, answers from names older than those of `revision`."""
        return any(host.host_id in concerned and host.listens and host.names_revision < revision for host in self.hosts)


NOTHING = Asked()
_host, _status, _controller = Host.__table__.c, HostStatus.__table__.c, Controller.__table__.c
_change = ChangeRow.__table__.c
_OF_TUNNELS = cast(NEWEST_TUNNELS.scalar_subquery(), BigInteger) == bindparam("revision")
_HOSTS = (
    select(
        _host.id,
        _host.name,
        _status.connected,
        _status.wanted_revision,
        _status.confirmed_revision,
        _status.error,
        _status.tunnels_revision,
        _status.ports_revision,
        _status.limits_revision,
        _status.closed,
        _status.agent_seen_at,
        NEWEST_TUNNELS.scalar_subquery().label("newest_tunnels"),
    )
    .select_from(Host.__table__.join(HostStatus.__table__, _status.host_id == _host.id))
    .where(
        _host.enrolled_at.is_not(None),
        # A change of the tunnels concerns every host that is there, whether its flows change or not.
        or_(
            _status.wanted_revision >= bindparam("least"),
            and_(_OF_TUNNELS, _status.connected),
            and_(bindparam("everywhere", type_=Boolean), _status.connected),
            _host.id.in_(bindparam("agents", expanding=True)),
        ),
    )
    .order_by(_host.name)
)
_ONE_HOST = _HOSTS.where(_host.name == bindparam("host"))
_COMPUTED_UP_TO = func.coalesce(
    select(func.min(_controller.revision)).where(_controller.seen_at > bindparam("alive")).scalar_subquery(),
    select(_controller.revision).order_by(_controller.seen_at.desc()).limit(1).scalar_subquery(),
    0,
)
_COMPUTED = select(_COMPUTED_UP_TO)
_ASKED = (
    select(_change.noun, _change.id, _change.op, _change.host_id)
    .where(_change.revision == bindparam("revision"), _change.noun.in_(_OF_AGENTS))
    .order_by(_change.noun, _change.id)
)
_NEWEST_AND_COMPUTED = select(CURRENT.scalar_subquery(), _COMPUTED_UP_TO, _ASKED.exists())

_LACKS_TUNNELS = func.coalesce(_status.tunnels_revision < cast(NEWEST_TUNNELS.scalar_subquery(), BigInteger), false())
_CLOSES = cast(_status.closed, String) != "{}"
_LAGGING = select(
    _status.host_id,
    _status.connected,
    _status.wanted_revision,
    _status.confirmed_revision,
    _status.error,
    _LACKS_TUNNELS.label("lacks_tunnels"),
    _CLOSES.label("closes"),
    _status.names_revision,
    (_status.names_seen_at > bindparam("listening")).label("listens"),
).where(
    or_(
        _status.confirmed_revision < _status.wanted_revision,
        _status.error != "",
        _LACKS_TUNNELS,
        _CLOSES,
        _status.host_id.in_(bindparam("hosts", expanding=True)),
    )
)

_FIELDS = ("controller", "connected", "wanted_revision", "confirmed_revision", "error", "flows", "drops", "repaired")
_RECORD = (
    update(HostStatus.__table__)  # type: ignore[arg-type]
    .where(HostStatus.host_id == bindparam("id"))
    .values({name: bindparam(name) for name in (*_FIELDS, "updated_at")})
)


def record(
    session: Session,
    controller: str,
    target: str,
    revision: int,
    hosts: Mapping[int, HostProgress],
    now: datetime | None = None,
) -> None:
    """`controller`, at `target`, has computed up to `revision`; `hosts` are those of which there is news, by id."""
    now = now or utcnow()
    controllers.seen(session, controller, target, revision, now)
    rows = [
        {
            "id": id,
            "controller": controller,
            "connected": progress.connected,
            "wanted_revision": progress.wanted,
            "confirmed_revision": progress.confirmed,
            "error": progress.error,
            "flows": progress.flows,
            "drops": dict(progress.drops),
            "repaired": progress.repaired,
            "updated_at": now,
        }
        for id, progress in sorted(hosts.items())
    ]
    if rows:
        session.execute(_RECORD, rows)
    notify(session, PROGRESS_CHANNEL)


def computed(session: Session, now: datetime | None = None) -> int:
    """The revision up to which every controller that is alive has computed; that of the last one when none is."""
    return int(session.execute(_COMPUTED, {"alive": (now or utcnow()) - ALIVE}).scalar_one())


def lag(session: Session, concerned: Collection[int], now: datetime | None = None) -> Lag:
    """The lag at this moment; `concerned` are the ids of hosts whose names matter."""
    now = now or utcnow()
    asked = {"hosts": sorted(concerned), "listening": now - directory.ALIVE}
    return Lag(computed(session, now), session.execute(_LAGGING, asked).all())


def progress(session: Session, revision: int, host: str | None = None, now: datetime | None = None) -> RevisionProgress:
    """How far `revision` is, everywhere or on one host."""
    now = now or utcnow()
    current, up_to, asks = session.execute(_NEWEST_AND_COMPUTED, {"alive": now - ALIVE, "revision": revision}).one()
    if not 0 <= revision <= current:
        raise NotFound(f"there is no revision {revision}", f"the newest is {current}", "revision")
    is_computed = int(up_to) >= revision
    of_agents = _asked(session.execute(_ASKED, {"revision": revision})) if asks else NOTHING
    known = {"revision": revision, "host": host, "everywhere": of_agents.everywhere, "agents": list(of_agents.hosts)}
    known["least"] = revision if is_computed else 0
    rows = session.execute(_HOSTS if host is None else _ONE_HOST, known)
    states = [_state_of(row, revision, is_computed, of_agents, now) for row in rows]
    if host is not None and not states:
        if session.execute(select(Host.id).where(Host.name == host)).scalar() is None:
            raise NotFound(f"there is no host {host}", "list them with `warren host list`", "host")
        if is_computed:
            states = [HostState(host, "applied", "")]
    if any(state.state == "failed" for state in states):
        return RevisionProgress(revision, "failed", states)
    done = is_computed and all(state.state == "applied" for state in states)
    return RevisionProgress(revision, "applied" if done else "pending", states)


def _asked(rows: Iterable[Any]) -> Asked:
    log = list(rows)
    return Asked(
        frozenset(row.host_id for row in log if row.noun in (_PUBLICATION, PORTS_CHANGED)),
        frozenset(row.host_id for row in log if row.noun == bandwidth.CHANGED),
        any(row.noun == MESH_CHANGED for row in log),
        tuple(str(row.id) for row in log if row.noun == _PUBLICATION and row.op != "delete"),
    )


def _state_of(row: Any, revision: int, is_computed: bool, asked: Asked, now: datetime) -> HostState:
    wanted, confirmed = row.wanted_revision, row.confirmed_revision
    if not (is_computed and not row.error and (wanted <= confirmed or confirmed >= revision)):
        state: State = "failed" if row.error else "pending"
        return HostState(row.name, state if row.connected else "disconnected", row.error)
    # What has no agent yet has no bridge for anybody to connect with.
    ports = asked.everywhere or row.id in asked.ports
    lacks = (
        (row.tunnels_revision, min(revision, row.newest_tunnels), _NO_PORTS),
        (row.ports_revision, revision if ports else 0, _NOT_PUBLISHED),
        (row.limits_revision, revision if row.id in asked.limits else 0, _NOT_LIMITED),
    )
    for done, wanted, lack in lacks:
        if done is not None and done < wanted:
            silent = now - row.agent_seen_at > SILENT_AFTER
            return HostState(row.name, "disconnected" if silent else "pending", lack)
    closed = next((row.closed[id] for id in asked.published if id in row.closed), "") if ports else ""
    return HostState(row.name, "failed" if closed else "applied", closed)
