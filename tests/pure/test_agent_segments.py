"""How an agent joins its bridge with the physical segments that networks are on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ovs_agent.document import UNDERLAY, Segment
from ovs_agent.plan import SEGMENT, DropPort, Port, PutPort, Seen
from ovs_agent.segments import AddBridge, plan, problems
from tests.pure.test_plan import LOCAL, kept, wanted


def carried_out(seen: Seen, steps: Iterable[AddBridge | PutPort | DropPort]) -> Seen:
    """The host after the steps, as Open vSwitch would have it."""
    bridges: dict[str, Mapping[str, Port]] = {LOCAL.bridge: seen.ports, **seen.others}
    for step in steps:
        match step:
            case AddBridge(name, _, interface):
                bridges[name] = {interface: Port(interface, None)}
            case PutPort(bridge, port):
                bridges[bridge] = {**bridges[bridge], port.name: port._replace(actual=port.ofport)}
            case DropPort(bridge, name):
                bridges[bridge] = {other: port for other, port in bridges[bridge].items() if other != name}
    return seen._replace(ports=bridges.pop(LOCAL.bridge), others=bridges)


LAN = Segment("lan", 10)
PATCH = Port("warren0-phy-lan", 10, "patch", options={"peer": "phy-lan-warren0"}, external_ids={SEGMENT: "lan"})
PEER = Port("phy-lan-warren0", None, "patch", options={"peer": "warren0-phy-lan"}, external_ids={SEGMENT: "lan"})


def test_a_segment_given_by_its_bridge_is_joined_with_ours_while_networks_are_on_it() -> None:
    local = LOCAL._replace(physical={"lan": "br-phy"})
    seen = kept(1)._replace(others={"br-phy": {"eth0": Port("eth0", None)}})
    used = wanted(1)._replace(segments=(LAN, Segment("dmz", 11)))
    assert plan(wanted(1), seen, local) == (), "no network is on it"
    steps = plan(used, seen, local)
    assert steps == (PutPort("br-phy", PEER), PutPort("warren0", PATCH)), "dmz is not here"
    joined = carried_out(seen, steps)
    assert plan(used, joined, local) == ()
    assert plan(wanted(1), joined, local) == (), "hosts may still have flows that lead there"
    everywhere = local._replace(everywhere=True)
    assert plan(wanted(1), joined, everywhere) == (DropPort("warren0", PATCH.name), DropPort("br-phy", PEER.name))
    assert carried_out(joined, plan(wanted(1), joined, everywhere)) == seen
    assert plan(wanted(1), joined, everywhere._replace(fresh=False)) == ()


def test_the_underlays_segment_is_on_the_bridge_that_has_the_hosts_address() -> None:
    used = wanted(1)._replace(segments=(Segment(UNDERLAY, 9),))
    seen = kept(1)._replace(others={"br-phy": {"br-phy": Port("br-phy", None, "internal")}}, underlay="br-phy")
    steps = plan(used, seen, LOCAL)
    assert [(step.bridge, step.port.name, step.port.ofport) for step in steps if isinstance(step, PutPort)] == [
        ("br-phy", "phy-underlay-warren0", None),
        ("warren0", "warren0-phy-underlay", 9),
    ]
    assert plan(used, carried_out(seen, steps), LOCAL) == ()
    assert plan(used, seen._replace(underlay="eth0"), LOCAL) == (), "an address on no bridge"


def test_a_segment_given_by_its_interface_gets_a_bridge() -> None:
    local = LOCAL._replace(physical={"lan": "eth1"})
    used = wanted(1)._replace(segments=(LAN,))
    steps = plan(used, kept(1), local)
    assert steps == (AddBridge("br-lan", "netdev", "eth1"), PutPort("br-lan", PEER), PutPort("warren0", PATCH))
    joined = carried_out(kept(1), steps)
    assert plan(used, joined, local) == ()
    assert problems(used, joined, local) == ()
    lost = {"br-lan": {**joined.others["br-lan"], "eth1": Port("eth1", None, error="could not open network device")}}
    (said,) = problems(used, joined._replace(others=lost), local)
    assert said == "Open vSwitch cannot use eth1 on bridge br-lan: could not open network device."


def test_a_number_that_another_segment_has_now_is_free_before_it_is_asked_for() -> None:
    local = LOCAL._replace(physical={"lan": "br-phy", "dmz": "br-dmz"})
    seen = kept(1)._replace(others={"br-phy": {}, "br-dmz": {}})
    joined = carried_out(seen, plan(wanted(1)._replace(segments=(LAN,)), seen, local))
    names = [type(step).__name__ for step in plan(wanted(1)._replace(segments=(Segment("dmz", 10),)), joined, local)]
    assert names == ["DropPort", "DropPort", "PutPort", "PutPort"]
