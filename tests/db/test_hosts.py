"""Hosts: enrolment with a token that works once, what agents report, and what one agent must have."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from controller import model
from db import controllers, endpoints, hosts, networks, tenants, tokens, wanted
from db.changes import transaction
from db.engine import reading, writing
from db.errors import Conflict, EnrolTokenUsed, Invalid, NotFound, Unauthenticated
from db.snapshot import snapshot
from db.tables import Host, HostStatus, Token, utcnow
from tests.db import steps


def created(engine: Engine, name: str = "h1", **options: str) -> str:
    with transaction(engine) as tx:
        return hosts.create(tx, name, **options)[1]  # type: ignore[arg-type]


def enrol(engine: Engine, text: str, address: str | None = "198.18.0.11", now: datetime | None = None) -> str:
    with transaction(engine, now) as tx:
        return hosts.enrol(tx, tokens.verify(tx.session, text, tx.now), address=address, datapath_type="netdev")[1]


def opens(engine: Engine, text: str) -> Token:
    with reading(engine) as session:
        return tokens.verify(session, text, utcnow())


def test_an_enrolled_host_has_an_address_and_its_agent_a_token_bound_to_it(engine: Engine) -> None:
    agent = opens(engine, enrol(engine, created(engine)))
    assert agent.role == "agent" and agent.host is not None
    assert (agent.host.name, agent.host.address, agent.host.datapath_type) == ("h1", "198.18.0.11", "netdev")
    assert agent.host.datapath_id == 0x7761_0000_0000_0000 | agent.host.id


def test_an_enrol_token_works_once(engine: Engine) -> None:
    text = created(engine)
    enrol(engine, text)
    with pytest.raises(EnrolTokenUsed, match="this token has enrolled host h1 already; get a new one with"):
        enrol(engine, text)


def test_an_enrolment_that_is_refused_does_not_use_up_the_token(engine: Engine) -> None:
    text = created(engine)
    with pytest.raises(Invalid, match=r"no other host can send to 127\.0\.0\.1"):
        enrol(engine, text, "127.0.0.1")
    assert enrol(engine, text)


def test_a_host_is_not_enrolled_twice_by_an_older_token(engine: Engine) -> None:
    first = created(engine)
    with transaction(engine) as tx:
        second = hosts.new_enrol_token(tx, "h1")
    enrol(engine, first)
    with pytest.raises(Conflict, match="host h1 is enrolled already; get a new token for it"):
        enrol(engine, second)


def test_a_new_token_enrols_a_replaced_machine_and_shuts_out_the_old_agent(engine: Engine) -> None:
    old = enrol(engine, created(engine))
    with transaction(engine) as tx:
        again = hosts.new_enrol_token(tx, "h1")
    new = enrol(engine, again, "198.18.0.99")
    assert opens(engine, new).host_id is not None
    with pytest.raises(Unauthenticated):
        opens(engine, old)


def test_no_two_hosts_have_one_name_or_address(engine: Engine) -> None:
    steps.host(engine, "h1", "198.18.0.11")
    with pytest.raises(Conflict, match="host h1 exists already"):
        created(engine, "h1")
    with pytest.raises(Conflict, match=r"address 198\.18\.0\.11 is that of host h1"):
        steps.host(engine, "h2", "198.18.0.11")
    with pytest.raises(Conflict, match=r"address fd00::11 is that of host h3"):
        steps.host(engine, "h3", "fd00:0::11")
        steps.host(engine, "h4", "fd00:0:0::0:11")


@pytest.mark.parametrize(
    "address", ["rubbish", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "fd00::1%eth0", "198.18.0.11/24"]
)
def test_an_address_that_no_tunnel_can_end_at_is_refused(engine: Engine, address: str) -> None:
    with pytest.raises(Invalid):
        created(engine, "h1", address=address)


def test_a_report_takes_no_revision_and_turns_the_ports_up_and_down(engine: Engine) -> None:
    h1, h2 = steps.host(engine), steps.host(engine, "h2", "198.18.0.12")
    steps.tenant(engine)
    mine = steps.attach(engine, h1, "mine", "acme/default")
    other = steps.attach(engine, h2, "other", "acme/default")
    before = steps.revision(engine)

    def states(ports: dict[str, str]) -> list[str]:
        with writing(engine) as session:
            hosts.report(session, h1.id, {"agent": {"pid": 7}, "ports": ports}, utcnow())
        with reading(engine) as session:
            return [endpoints.get(session, name).state for name in ("acme/mine", "acme/other")]

    assert states({}) == ["pending", "pending"]
    assert states({str(mine.id): "up", str(other.id): "up", "999": "up"}) == ["up", "pending"]
    assert states({str(mine.id): "down"}) == ["down", "pending"]
    assert steps.revision(engine) == before


def test_a_hosts_state_is_one_word_that_tells_who_complains(engine: Engine) -> None:
    now = utcnow()
    created(engine)

    def state(at: datetime = now) -> str:
        with reading(engine) as session:
            return hosts.state(hosts.get(session, "h1"), at)

    def set_status(**values: object) -> None:
        with writing(engine) as session:
            status = session.execute(select(HostStatus)).scalar_one()
            for name, value in values.items():
                setattr(status, name, value)

    assert state() == "new"
    with transaction(engine) as tx:
        enrol_token = hosts.new_enrol_token(tx, "h1")
    enrol(engine, enrol_token)
    assert state() == "enrolled"
    set_status(connected=True, agent_seen_at=now)
    assert state() == "up"
    assert state(now + timedelta(seconds=31)) == "silent"
    set_status(agent_report={"problems": ["no tunnel port"]})
    assert state() == "degraded"
    set_status(agent_report={}, error="bundle failed")
    assert state() == "degraded"
    set_status(error="", connected=False)
    assert state() == "degraded"


def test_an_agent_is_told_its_bridge_its_controllers_and_its_endpoints(engine: Engine) -> None:
    h1, h2 = steps.host(engine), steps.host(engine, "h2", "fd00:198:18::12")
    steps.do(engine, hosts.update, "h2", mtu=1400)
    with writing(engine) as session:
        controllers.seen(session, "ctl1", "tcp:198.18.0.1:6653", 0, utcnow())
    steps.tenant(engine)
    steps.attach(engine, h2, "other", "acme/default")
    mine = steps.attach(engine, h1, "mine", "acme/default")
    with reading(engine) as session:
        document = wanted.wanted(session, h1.id).document()
    assert document == {
        "revision": steps.revision(engine),
        "host": {
            "name": "h1",
            "id": h1.id,
            "datapath_id": f"7761{h1.id:012x}",
            "address": "198.18.0.11",
            "mtu": 1500,
            "least_mtu": 1400,
        },
        "controllers": ["tcp:198.18.0.1:6653"],
        "tunnels": [{"type": "vxlan", "suffix": "tun", "port": 4789, "ofport": 1}],
        "segments": [],
        "gateway": {"ofport": 2, "mac": "02:77:61:72:72:6e"},
        "endpoints": [mine._asdict()],
        "peers": [{"name": "h2", "address": "fd00:198:18::12"}],
        "published": [],
        "tunnels_revision": 5,
    }
    with pytest.raises(NotFound), reading(engine) as session:
        wanted.wanted(session, 999)


def test_an_agent_is_woken_by_what_concerns_its_host_only(engine: Engine) -> None:
    h1, h2 = steps.host(engine), steps.host(engine, "h2", "198.18.0.12")
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24")

    def concerned(act: object) -> list[bool]:
        before = steps.revision(engine)
        assert callable(act)
        act()
        assert steps.revision(engine) > before
        with reading(engine) as session:
            return [wanted.changed_for_host(session, host.id, before) for host in (h1, h2)]

    def mtu(name: str, value: int) -> None:
        with transaction(engine) as tx:
            networks.update(tx, name, mtu=value)

    def controller(target: str) -> None:
        with writing(engine) as session:
            controllers.seen(session, "ctl1", target, 0, utcnow())

    assert concerned(lambda: steps.tenant(engine, "beta")) == [False, False]
    assert concerned(lambda: steps.attach(engine, h1, "web1")) == [True, False]
    assert concerned(lambda: mtu("acme/web", 1400)) == [True, False]
    assert concerned(lambda: mtu("acme/default", 1400)) == [False, False]
    assert concerned(lambda: controller("tcp:198.18.0.1:6653")) == [True, True]
    assert concerned(lambda: steps.detach(engine, h1, "web1")) == [True, False]
    with transaction(engine) as tx:
        tenants.update(tx, "acme", labels={"a": "b"})
    with reading(engine) as session:
        assert not wanted.changed_for_host(session, h1.id, steps.revision(engine))
        assert wanted.changed_for_host(session, h1.id, 10**6), "a caller from another database must look again"


def test_a_hosts_tokens_go_with_it(engine: Engine) -> None:
    text = enrol(engine, created(engine))
    with transaction(engine) as tx:
        hosts.delete(tx, "h1")
    with pytest.raises(Unauthenticated):
        opens(engine, text)
    with reading(engine) as session:
        assert session.execute(select(Host)).all() == session.execute(select(Token)).all() == []


def test_a_host_whose_address_changes_family_is_still_understood(engine: Engine) -> None:
    host = steps.host(engine, "six", "198.18.0.66")
    for address, prefix in (("198.18.0.66", 24), ("fd00:18::66", 64)):
        with transaction(engine) as tx:
            hosts.update(tx, "six", address=address)
        with transaction(engine) as tx:
            hosts.set_underlay(tx, host.id, prefix, 1500)
    with transaction(engine) as tx:
        assert hosts.update(tx, "six", address="198.18.0.66").prefix is None


def test_a_host_that_is_enrolled_anew_by_an_address_of_the_other_family_is_understood(engine: Engine) -> None:
    host = steps.host(engine, "six", "fd00:18::66")
    steps.do(engine, hosts.set_underlay, host.id, 64, 1500)
    with transaction(engine) as tx:
        token = hosts.new_enrol_token(tx, "six")
    enrol(engine, token, "198.18.0.66")
    assert segment_of(engine) is None
    steps.do(engine, hosts.set_underlay, host.id, 64, 1500)  # a report that was under way
    assert segment_of(engine) is None
    steps.do(engine, hosts.set_underlay, host.id, 24, 1500)
    assert segment_of(engine) == (4, 198 << 24 | 18 << 16, 24)


def segment_of(engine: Engine) -> object:
    """Of the one host, as the controller has it."""
    with reading(engine) as session:
        (host,) = (change.value for change in snapshot(session)[1] if change.noun == "host")
    assert isinstance(host, model.Host)
    return host.segment
