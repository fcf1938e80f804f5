"""What the agent sees of Open vSwitch and of containers reaches the check of addresses, and repair follows from it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from db import ipam
from db.changes import transaction
from db.engine import reading
from tests.agent.conftest import Host
from tests.agent.site import Container, make_netns, remove_netns, until


def found(host: Host) -> set[tuple[str, str]]:
    with reading(host.site.engine) as session:
        return {(one.kind, one.subject) for one in ipam.check(session, datetime.now(UTC))}


def test_a_container_that_is_gone_is_found_and_collected_and_a_foreign_port_left(
    host: Host, container: Callable[..., Container]
) -> None:
    stays, goes = container(), container()
    stays.add(), goes.add()
    named = {endpoint.container_id: endpoint.name for endpoint in host.endpoints()}
    gone, stray = ("container-gone", named[goes.id]), ("port-without-endpoint", f"{host.name}:stray0")
    host.site.ovs.vsctl("add-port", host.bridge, "stray0", "--", "set", "interface", "stray0", "type=internal")
    remove_netns(goes.netns)
    try:
        until(lambda: {gone, stray} <= found(host), "both are reported")
        assert ("container-gone", named[stays.id]) not in found(host)
        with transaction(host.site.engine) as tx:
            ipam.collect(tx)
        assert [endpoint.container_id for endpoint in host.endpoints()] == [stays.id]
        until(lambda: len(host.ports()) == 2, "the port of the one that is gone is removed")
        assert "stray0" in host.ports() and stray in found(host)
    finally:
        host.site.ovs.vsctl("--if-exists", "del-port", host.bridge, "stray0")
        make_netns(goes.netns)
