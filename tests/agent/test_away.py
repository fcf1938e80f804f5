"""While the API is away the host is still kept, interfaces can still end, and nothing is lost or invented."""

from __future__ import annotations

import signal
from collections.abc import Callable

from db import attachments
from db.changes import transaction
from tests.agent.conftest import Host
from tests.agent.site import Container, until
from tests.agent.test_keeper import interface, port_of

NewContainer = Callable[..., Container]


def known(host: Host, one: Container) -> bool:
    return any(endpoint.container_id == one.id for endpoint in host.endpoints())


def test_del_succeeds_and_the_release_follows(host: Host, container: NewContainer) -> None:
    one = container()
    port = port_of(one.add())
    with host.site.without_api():
        one.delete()
        assert port not in host.ports() and port not in host.links()
        one.delete()
        assert known(host, one)
    until(lambda: not known(host, one), "the API has taken the release")


def test_a_release_outlives_the_agent(host: Host, container: NewContainer) -> None:
    one = container()
    one.add()
    with host.site.without_api():
        one.delete()
        host.agent.stop(signal.SIGKILL)
        host.start()
    until(lambda: not known(host, one), "the API has taken the release")


def test_an_attach_is_not_undone_by_the_release_before_it(host: Host, container: NewContainer) -> None:
    """Detached while the API was away, attached again at once: the old release must not take the new address."""
    one = container()
    one.add()
    with host.site.without_api():
        one.delete()
        host.agent.stop(signal.SIGKILL)
    host.start()
    result = one.add()
    until(lambda: not any((host.folder / "state" / "releases").iterdir()), "the journal is empty")
    assert known(host, one)
    assert one.call("CHECK", {"prevResult": result}) == (0, None)


def test_a_start_without_api_mends_from_memory(host: Host, container: NewContainer) -> None:
    one = container()
    port = port_of(one.add())
    until(lambda: port in (host.folder / "state" / "wanted.json").read_text(), "the document is kept")
    number = interface(host, port)[1]
    with host.site.without_api():
        host.agent.stop(signal.SIGKILL)
        host.site.ovs.vsctl("del-port", host.bridge, port)
        host.start()
        until(lambda: (now := interface(host, port)) and now[1] == number, "the port is back")


def test_what_memory_does_not_know_is_not_removed(host: Host, container: NewContainer) -> None:
    """The document on disk may be older than the last attach."""
    kept = (host.folder / "state" / "wanted.json").read_text()
    one = container()
    port = port_of(one.add())
    with host.site.without_api():
        host.agent.stop(signal.SIGKILL)
        (host.folder / "state" / "wanted.json").write_text(kept)
        steps = host.agent.said.count("nothing wants it")
        host.start()
        host.make_it_look()
        assert port in host.ports() and port in host.links()
        assert host.agent.said.count("nothing wants it") == steps
        one.delete()
        assert port not in host.ports() and port not in host.links()


def test_a_start_with_a_memory_that_is_torn(host: Host, container: NewContainer) -> None:
    one = container()
    port = port_of(one.add())
    host.agent.stop(signal.SIGKILL)
    (host.folder / "state" / "wanted.json").write_text('{"revision": 3, "host"')
    host.start()
    two = container()
    two.add()
    assert port in host.ports()


def test_what_was_freed_while_the_agent_was_away_is_removed(host: Host, container: NewContainer) -> None:
    one = container()
    port = port_of(one.add())
    host.agent.stop(signal.SIGKILL)
    with transaction(host.site.engine) as tx:
        attachments.detach(tx, host.id, one.id, "eth0")
    host.start()
    until(lambda: port not in host.ports() and port not in host.links(), "port and veth are gone")
