"""What policies do to what is under way: forbidden connections stop at once, allowed ones lose nothing, come what may.

Streams are numbered, or stamped when they are sent, so a test can say which packets were lost and which came too late.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from controller.calc.membership import members
from controller.openflow.encode import encode
from controller.pipeline.program import program
from lab.lab import Lab
from tests.lab import caches
from tests.lab.asking import unfulfilled, wish
from tests.lab.rules import apply, called, cluster_policy, delete, policy, relabel, tenants
from tests.lab.test_first_packet import ask
from tests.lab.test_lossless import RATE, connected, resumed, streams
from tests.lab.test_parting import Datagrams, connection, says
from tests.lab.test_random_standing import installed, model
from tests.lab.world import World
from tests.oracle import Document

TIMES = 50
SILENCE = 0.3
"""Seconds in which what is forbidden would have come."""
FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH = 7101, 7102, 7103, 7104, 7105, 7106
_thirds, _ports = itertools.count(1), itertools.count()


class Scene:
    """A server, whom a web client and a stranger talk with from another host or its own."""

    def __init__(self, world: World, hosts: tuple[str, str] = ("h1", "h2")) -> None:
        self.world = world
        self.tenant = world.tenant("acme")
        third = next(_thirds)
        network = world.network(self.tenant, "net", f"10.73.{third}.0/24", f"fd00:73:{third}::/64")
        apps = ("web", "stranger")
        self.web, self.stranger = (world.endpoint(network, hosts[0], labels={"app": app}) for app in apps)
        self.server = world.endpoint(network, hosts[1], labels={"app": "server"})
        world.settle()

    def forget(self) -> None:
        """All policies and labels that a test gave."""
        for one in list(self.world.rest.items("/policies")):
            if one["tenant"] in (None, self.tenant):
                self.world.rest.delete(f"/policies/{one['name']}")
        relabel(self.world, self.stranger, app="stranger")

    def into_server(self, name: str, *sources: Document) -> Document:
        """Everything from these to the server, and nothing else."""
        rules = [{"from": [{"podSelector": source} for source in sources]}] if sources else []
        return policy(self.tenant, name, {"app": "server"}, ingress=rules)

    def only_web(self) -> Document:
        return self.into_server("only-web", app("web"))

    def holds(self) -> None:
        """That only the web client reaches the server."""
        web, stranger, server = self.web, self.stranger, self.server
        wishes = [*wish(web, server, True), *wish(stranger, server, False), *wish(server, stranger, True)]
        assert not unfulfilled(*wishes)


@pytest.fixture(scope="module", params=[("h1", "h1"), ("h1", "h2")], ids=["one-host", "two-hosts"])
def place(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Scene]:
    world = World(lab)
    yield Scene(world, request.param)
    world.clear()


@pytest.fixture
def scene(place: Scene) -> Iterator[Scene]:
    yield place
    place.forget()


def app(name: str) -> Document:
    return {"matchLabels": {"app": name}}


def no_stranger(scene: Scene) -> Document:
    """The admins' word against the stranger."""
    whom = {"pods": {"namespaceSelector": tenants(scene.tenant), "podSelector": app("stranger")}}
    return cluster_policy("no-stranger", "Admin", 9, [scene.tenant], ingress=[{"action": "Deny", "from": [whom]}])


Step = Callable[[Scene], object]
WAYS: dict[str, tuple[Step, Step]] = {
    "first-policy": (lambda _: None, lambda at: apply(at.world, at.only_web())),
    "tightened": (
        lambda at: apply(at.world, at.into_server("only-web", {})),
        lambda at: apply(at.world, at.only_web()),
    ),
    "removed": (
        lambda at: apply(at.world, at.only_web(), at.into_server("all", {})),
        lambda at: delete(at.world, at.into_server("all", {})),
    ),
    "egress": (
        lambda at: apply(at.world, at.into_server("all", {})),
        lambda at: apply(at.world, policy(at.tenant, "mute", {"app": "stranger"}, egress=[])),
    ),
    "admin": (
        lambda at: apply(at.world, at.into_server("all", {})),
        lambda at: apply(at.world, no_stranger(at)),
    ),
    "relabelled": (
        lambda at: (relabel(at.world, at.stranger, app="web"), apply(at.world, at.only_web())),
        lambda at: relabel(at.world, at.stranger, app="stranger"),
    ),
}
"""How what the stranger may do begins, and how it ends. Nothing else ends by it."""
OLDER = ("first-policy", "egress")
"""Ways in which one end has no policy before."""


@contextmanager
def lecture(speaker: socket.socket) -> Iterator[None]:
    """Somebody who speaks all the time, whether heard or not."""
    over = threading.Event()

    def speak() -> None:
        with suppress(OSError):
            while not over.wait(1 / RATE):
                speaker.sendall(b"numbers ")

    speaking = threading.Thread(target=speak, daemon=True)
    speaking.start()
    try:
        yield
    finally:
        over.set()
        speaking.join()


def hears(listener: socket.socket, seconds: float) -> bool:
    """Whether anything comes within so many seconds that did not come yet."""
    listener.setblocking(False)
    with suppress(BlockingIOError):
        while listener.recv(1 << 16):
            pass
    listener.settimeout(seconds)
    try:
        return bool(listener.recv(1 << 16))
    except TimeoutError:
        return False


@pytest.mark.parametrize("way", WAYS)
def test_what_a_policy_forbids_stops_at_once_and_nothing_else_does(scene: Scene, way: str) -> None:
    begin, end = WAYS[way]
    begin(scene)
    web, stranger, server = scene.web, scene.stranger, scene.server
    with (
        connection(stranger, server, FIRST) as (near, far),
        connection(stranger, server, SECOND) as (listener, speaker),
        connection(web, server, THIRD) as (here, there),
        connection(server, stranger, FOURTH) as (its, others),
        Datagrams(stranger, server) as forbidden,
        Datagrams(web, server, FIRST) as allowed,
        lecture(speaker),
        streams((web, server), (server, web)) as results,
    ):
        assert says(near, far) and says(far, near) and says(here, there) and says(its, others)
        assert hears(listener, 30)
        forbidden.flow(), allowed.flow()
        end(scene)
        caches.follow(scene.world.lab)
        at = time.monotonic()
        late = [stamp - at for stamp in forbidden.arrived(SILENCE) if stamp > at]
        assert not late, f"{len(late)} datagrams sent up to {max(late) * 1000:.1f} ms after the change was live"
        assert not hears(listener, SILENCE)
        assert not says(near, far, SILENCE)
        # What a server sends on a connection that is older than any policy is judged as if it had opened one.
        assert way in OLDER or not says(far, near, SILENCE)
        assert says(here, there) and says(there, here), "what is allowed goes on"
        assert says(its, others) and says(others, its), "and what the server opened"
        allowed.flow()
    assert [lost for _, lost in results] == [set(), set()]
    scene.holds()


@pytest.mark.parametrize(("by", "port"), [(45_000, 40_000), (20_000, FIFTH)], ids=["high-ports", "low-ports"])
def test_a_first_policy_cuts_what_was_open_also_where_ports_do_not_tell_who_opened_it(
    scene: Scene, by: int, port: int
) -> None:
    """Both speak all the time, so each host sees its own end first."""
    with connection(scene.web, scene.server, port, by + next(_ports)) as (near, far), lecture(near), lecture(far):
        assert hears(near, 30) and hears(far, 30)
        apply(scene.world, policy(scene.tenant, "closed", {}, ingress=[]))
        caches.follow(scene.world.lab)
        assert not hears(near, SILENCE) and not hears(far, SILENCE)


@pytest.mark.parametrize(("by", "port"), [(45_000, 40_001), (20_000, SIXTH), (45_000, SIXTH)])
def test_a_first_policy_leaves_open_what_it_allows(scene: Scene, by: int, port: int) -> None:
    with connection(scene.web, scene.server, port, by + next(_ports)) as (near, far):
        assert says(near, far) and says(far, near)
        apply(scene.world, scene.only_web())
        assert says(near, far) and says(far, near)


def test_what_stays_allowed_loses_nothing_while_policies_come_and_go(world: World) -> None:
    scene = Scene(world)
    web, stranger, server = scene.web, scene.stranger, scene.server
    passing = policy(scene.tenant, "passing", {"app": "stranger"}, ingress=[{}], egress=[{}])
    began = time.monotonic()
    with connection(web, server) as (near, far), streams((web, server), (server, stranger), (web, stranger)) as results:
        for _ in range(10):
            apply(world, scene.only_web(), passing)
            assert says(near, far)
            apply(world, scene.into_server("only-web", {}), no_stranger(scene))
            relabel(world, web, tier="front")
            apply(world, scene.into_server("more", app("web"), app("nobody")))
            delete(world, scene.only_web())
            relabel(world, web, tier=None)
            assert says(far, near)
            delete(world, scene.into_server("more"))
            delete(world, passing)
            delete(world, no_stranger(scene))
        seconds = time.monotonic() - began
    assert all(answered > seconds * RATE / 10 for answered, _ in results), f"the streams ran for {seconds} s: {results}"
    (_, web_lost), (_, server_lost), (_, stranger_lost) = results
    assert web_lost == stranger_lost == set()
    # The stranger's answer to a query that went before the first policy is judged as the stranger's: one each time.
    assert len(server_lost) <= 10


def test_a_policy_that_is_deleted_and_made_again_quickly_ends_right(lab: Lab, world: World) -> None:
    """With it or without it the web client may talk with the server, so it never loses a packet. The stranger may not
    once it stands; a second policy, which stays, forbids him all the time and lets the web client in only with the
    first: this one's loss is meant, but it is over in the end."""
    scene = Scene(world)
    closed = world.endpoint(f"{scene.tenant}/net", "h2", labels={"app": "closed"})
    shut = policy(scene.tenant, "shut", {"app": "closed"}, ingress=[])
    again = policy(scene.tenant, "again", {}, ingress=[{"from": [{"podSelector": app("web")}]}])
    again["spec"]["podSelector"] = {
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["server", "closed"]}]
    }
    apply(world, shut, again)
    with (
        streams((scene.web, scene.server), (scene.server, scene.web)) as results,
        connection(scene.web, scene.server) as (near, far),
        Datagrams(scene.stranger, closed) as forbidden,
    ):
        began = time.monotonic()
        for number in range(TIMES):
            world.rest.delete(f"/policies/{called(again)}")
            if number % 5 == 0:
                world.settle()
            world.rest.post("/policies", {"documents": [again]})
        world.settle()
        assert says(near, far) and says(far, near)
        assert not forbidden.arrived(0.1)
        seconds = time.monotonic() - began
    assert all(answered > seconds * RATE / 10 for answered, _ in results), f"the streams ran for {seconds} s: {results}"
    assert [lost for _, lost in results] == [set(), set()]
    scene.holds()
    assert not unfulfilled(*wish(scene.web, closed, True), *wish(scene.stranger, closed, False))
    now = model(lab)
    for host in now.hosts.values():
        assert installed(lab, host.name) == {encode(flow).cookie for flow in program(now, members(now, host.id))}


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_a_controller_that_comes_back_sends_no_flow_and_loses_no_packet(lab: Lab, world: World, kill: bool) -> None:
    scene = Scene(world)
    apply(world, scene.only_web(), no_stranger(scene), policy(scene.tenant, "out", {"app": "web"}, egress=[{}]))
    at = (lab.folder / "controller.log").stat().st_size
    with (
        streams((scene.web, scene.server), (scene.server, scene.stranger)) as results,
        Datagrams(scene.stranger, scene.server) as forbidden,
        connection(scene.web, scene.server) as (near, far),
    ):
        lab.restart("controller", kill=kill)
        connected(lab)
        assert resumed(lab, at) == [0, 0, 0]
        assert says(near, far) and says(far, near)
        assert not forbidden.arrived(0.5)
    assert [lost for _, lost in results] == [set(), set()]
    scene.holds()


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_a_switch_that_is_killed_lets_nothing_forbidden_pass_and_then_judges_as_before(
    lab: Lab, world: World, host: str
) -> None:
    scene = Scene(world)
    neighbour = world.endpoint(f"{scene.tenant}/net", "h1", labels={"app": "server"})
    apply(world, scene.only_web())
    with (
        Datagrams(scene.stranger, scene.server) as forbidden,
        Datagrams(scene.stranger, neighbour) as forbidden_beside,
    ):
        lab.restart(f"ovs:{host}", kill=True)
        back = time.monotonic()
        while ask(scene.web, scene.server, 0.1) is None:
            assert time.monotonic() - back < 60, "traffic is not back"
        connected(lab)
        world.settle()
        assert not forbidden.arrived(0.5) and not forbidden_beside.arrived(0)
    scene.holds()
