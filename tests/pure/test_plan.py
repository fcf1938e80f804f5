"""What the agent decides to do to a host: enough, no more, and nothing on a guess."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ovs_agent.document import Endpoint, Gateway, Limits, Tunnel, Wanted
from ovs_agent.findings import Stray, missing, problems, states, strays
from ovs_agent.keeper import INTERVAL, next_pause
from ovs_agent.plan import (
    ENDPOINT,
    WAS_DOWN,
    Bridge,
    Controller,
    DropLink,
    DropPort,
    Link,
    Local,
    LowerLink,
    Port,
    PutPort,
    RaiseLink,
    Seen,
    SetBridge,
    SetControllers,
    SetLimits,
    SetMtu,
    Step,
    endpoint_port,
    leaving,
    plan,
)

UP, DOWN = Link(True, 1450, True), Link(False, 1450, True)
LOCAL = Local("warren0", "netdev", fresh=True)


def endpoint(id: int) -> Endpoint:
    return Endpoint(
        id=id,
        name=f"acme/web{id}",
        network="acme/web",
        ofport=100 + id,
        port_name=f"wrn{id}",
        mac=f"02:00:0a:14:00:{id:02x}",
        addresses=(f"10.20.0.{id}/24",),
        gateways=("10.20.0.1",),
        mtu=1450,
        route_mtu=1450,
        container_id=f"c{id}",
        ifname="eth0",
        netns=f"/run/netns/c{id}",
    )


def wanted(*ids: int, revision: int = 10, controllers: tuple[str, ...] = ("tcp:198.18.0.1:6653",)) -> Wanted:
    return Wanted(
        revision=revision,
        host="h1",
        datapath_id="7761000000000001",
        address="198.18.0.11",
        controllers=controllers,
        tunnels=(Tunnel("vxlan", "tun", 4789, 1),),
        segments=(),
        gateway=Gateway(2, "02:77:61:72:72:6e"),
        endpoints=tuple(endpoint(id) for id in ids),
    )


def carried_out(seen: Seen, steps: tuple[Step, ...]) -> Seen:
    """The host after the steps, as Open vSwitch and the kernel would have it."""
    for step in steps:
        ports, links = dict(seen.ports), dict(seen.links)
        match step:
            case SetBridge(bridge):
                seen = seen._replace(bridge=bridge)
            case SetControllers(_, controllers):
                seen = seen._replace(controllers=controllers)
            case PutPort(_, port):
                assert seen.bridge is not None, "a port needs a bridge"
                before = ports.get(port.name, port)
                external_ids = {**before.external_ids, **port.external_ids}
                options = {**before.options, **port.options}
                ports[port.name] = port._replace(external_ids=external_ids, options=options, actual=port.ofport)
            case DropPort(_, name):
                del ports[name]
            case RaiseLink(name):
                assert not links[name].up
                links[name] = links[name]._replace(up=True)
            case LowerLink(name):
                links[name] = links[name]._replace(up=False)
            case SetMtu(of):
                links[of.port_name] = links[of.port_name]._replace(mtu=of.mtu)
            case DropLink(name):
                del links[name]
        seen = seen._replace(ports=ports, links=links)
    return seen


def kept(*ids: int) -> Seen:
    """A host on which these endpoints are as they should be."""
    links = {f"wrn{id}": UP for id in ids}
    return carried_out(Seen(links=links), plan(wanted(*ids), Seen(links=links), LOCAL))


def test_looks_follow_soon_and_ever_later_while_something_is_left_to_do() -> None:
    pauses = [INTERVAL]
    while len(pauses) < 9:
        pauses.append(next_pause(pauses[-1]))
    assert pauses[1:8] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, INTERVAL] and pauses[8] == 0.2


def test_a_bare_host_gets_bridge_controllers_tunnel_and_gateway() -> None:
    steps = plan(wanted(), Seen(), LOCAL)
    assert [type(step).__name__ for step in steps] == ["SetBridge", "SetControllers", "PutPort", "PutPort"]
    seen = carried_out(Seen(), steps)
    assert seen.bridge == Bridge("warren0", "netdev", "7761000000000001", "secure", ("OpenFlow14",), in_band=False)
    assert seen.ports["warren0-tun"].options == {"remote_ip": "flow", "key": "flow", "dst_port": "4789"}
    assert (seen.ports["warren0-tun"].ofport, seen.ports["warren0-gw"].ofport) == (1, 2)
    assert seen.ports["warren0-gw"].mac == "02:77:61:72:72:6e"


def test_tunnels_over_ipv6_carry_a_checksum() -> None:
    steps = plan(wanted()._replace(address="fd00:198:18::11"), Seen(), LOCAL)
    assert carried_out(Seen(), steps).ports["warren0-tun"].options["csum"] == "true"


def test_a_tunnel_that_no_network_uses_goes_when_no_host_has_flows_that_do() -> None:
    used = wanted(1)._replace(tunnels=(*wanted().tunnels, Tunnel("gre", "gre", None, 4)))
    seen = carried_out(kept(1), plan(used, kept(1), LOCAL))
    assert "warren0-gre" in seen.ports
    assert plan(wanted(1), seen, LOCAL) == (), "others may still send by it"
    assert leaving(wanted(1), seen, LOCAL) == ("warren0-gre",)
    assert strays(wanted(1), seen, LOCAL) == ()
    everywhere = LOCAL._replace(everywhere=True)
    assert plan(used, seen, everywhere) == ()
    assert plan(wanted(1), seen, everywhere._replace(fresh=False)) == ()
    assert plan(wanted(1), seen, everywhere) == (DropPort("warren0", "warren0-gre"),)


def test_a_host_as_it_should_be_is_left_alone() -> None:
    assert plan(wanted(1, 2), kept(1, 2), LOCAL) == ()


def test_an_endpoint_without_veth_gets_no_port() -> None:
    """Its attach has not come that far yet, or its container is gone."""
    assert plan(wanted(1), kept(), LOCAL) == ()


def test_a_lost_port_is_put_back() -> None:
    seen = kept(1, 2)
    seen = seen._replace(ports={name: port for name, port in seen.ports.items() if name != "wrn2"})
    assert plan(wanted(1, 2), seen, LOCAL) == (PutPort("warren0", endpoint_port(endpoint(2))),)


def test_a_lost_bridge_is_put_back_whole() -> None:
    seen = kept(1, 2)
    bare = Seen(links=seen.links)
    assert carried_out(bare, plan(wanted(1, 2), bare, LOCAL)) == seen


def test_an_endpoint_that_is_not_wanted_loses_port_and_veth() -> None:
    assert plan(wanted(1), kept(1, 2), LOCAL) == (DropPort("warren0", "wrn2"), DropLink("wrn2"))


def test_a_document_from_disk_removes_nothing() -> None:
    """It may be older than the last attach."""
    assert plan(wanted(), kept(1, 2), LOCAL._replace(fresh=False)) == ()


def test_a_document_older_than_an_attach_does_not_count_against_it() -> None:
    local = LOCAL._replace(attached=((11, endpoint(2)),))
    assert plan(wanted(1, revision=10), kept(1, 2), local) == ()


def test_a_document_newer_than_an_attach_counts() -> None:
    local = LOCAL._replace(attached=((11, endpoint(2)),))
    assert plan(wanted(1, revision=12), kept(1, 2), local) == (DropPort("warren0", "wrn2"), DropLink("wrn2"))


def test_what_is_being_worked_on_is_nobody_elses_business() -> None:
    seen = kept(1)
    half_made = seen._replace(links={**seen.links, "wrn2": DOWN, "wrn3": UP})
    assert plan(wanted(1, 2), half_made, LOCAL._replace(busy=frozenset({"wrn2", "wrn3"}))) == ()


def test_foreign_ports_are_nobodys_business_at_all() -> None:
    seen = kept(1)
    seen = seen._replace(ports={**seen.ports, "eth9": Port("eth9", None, actual=7)})
    assert plan(wanted(1), seen, LOCAL) == ()


def test_no_controllers_in_the_document_is_no_reason_to_forget_them() -> None:
    assert plan(wanted(controllers=()), kept(), LOCAL) == ()


def test_only_controllers_that_changed_are_a_reason_to_act() -> None:
    seen = kept()._replace(controllers=(Controller("tcp:198.18.0.1:6653"), Controller("tcp:198.18.0.2:6653")))
    two = ("tcp:198.18.0.2:6653", "tcp:198.18.0.1:6653")
    assert plan(wanted(controllers=two), seen, LOCAL) == ()
    assert plan(wanted(controllers=two[:1]), seen, LOCAL) == (
        SetControllers("warren0", (Controller("tcp:198.18.0.2:6653"),)),
    )


def test_what_people_write_beside_our_settings_stays() -> None:
    seen = kept(1)
    port = seen.ports["wrn1"]
    noted = port._replace(external_ids={**port.external_ids, "note": "do not touch"})
    assert plan(wanted(1), seen._replace(ports={**seen.ports, "wrn1": noted}), LOCAL) == ()


def test_a_link_that_is_down_is_brought_up() -> None:
    seen = kept(1)
    assert plan(wanted(1), seen._replace(links={"wrn1": DOWN}), LOCAL) == (RaiseLink("wrn1"),)


def test_an_endpoint_is_up_when_port_number_and_link_are_right() -> None:
    seen = kept(1, 2, 3)
    wrong = seen.ports["wrn2"]._replace(actual=999)
    seen = seen._replace(ports={**seen.ports, "wrn2": wrong}, links={**seen.links, "wrn3": DOWN})
    assert states(wanted(1, 2, 3, 4), seen, LOCAL) == {1: "up", 2: "down", 3: "down", 4: "down"}


def test_what_no_step_can_mend_is_told_to_people() -> None:
    seen = kept(1, 2)
    failing = {
        "wrn1": seen.ports["wrn1"]._replace(actual=999),
        "wrn2": seen.ports["wrn2"]._replace(actual=-1, error="could not open network device wrn2"),
    }
    first, second = problems(wanted(1, 2), seen._replace(ports={**seen.ports, **failing}), LOCAL)
    assert "wrn1" in first and "999" in first and "101" in first
    assert "could not open network device wrn2" in second
    assert problems(wanted(1, 2), seen, LOCAL) == ()


IDS = st.frozensets(st.integers(1, 6))
HOSTS = st.builds(
    lambda bridge, ports, links, foreign: Seen(
        bridge=Bridge("warren0", "netdev", "7761000000000001") if bridge else None,
        ports={
            **{f"wrn{id}": endpoint_port(endpoint(id))._replace(actual=100 + id) for id in ports},
            **({"eth9": Port("eth9", None)} if foreign else {}),
        }
        if bridge
        else {},
        links={f"wrn{id}": UP if up else DOWN for id, up in links.items()},
    ),
    st.booleans(),
    IDS,
    st.dictionaries(st.integers(1, 6), st.booleans()),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(ids=IDS, seen=HOSTS, busy=IDS, fresh=st.booleans())
def test_whatever_is_found_one_plan_is_enough(ids: set[int], seen: Seen, busy: set[int], fresh: bool) -> None:
    local = LOCAL._replace(fresh=fresh, busy=frozenset(f"wrn{id}" for id in busy))
    document = wanted(*sorted(ids))
    after = carried_out(seen, plan(document, seen, local))
    assert plan(document, after, local) == ()
    ours = {name for name, port in after.ports.items() if ENDPOINT in port.external_ids}
    settled = ours - local.busy
    assert {f"wrn{id}" for id in ids if f"wrn{id}" in seen.links} - local.busy <= settled
    if fresh:
        assert settled <= {f"wrn{id}" for id in ids}
    else:
        assert set(seen.ports) <= set(after.ports) and set(seen.links) == set(after.links)
    assert ("eth9" in seen.ports) == ("eth9" in after.ports)


def test_an_endpoints_mtu_follows_the_document_and_nothing_else_is_touched() -> None:
    seen = kept(1, 2)
    changed = wanted(1, 2)
    changed = changed._replace(endpoints=(changed.endpoints[0]._replace(mtu=1400), changed.endpoints[1]))
    its = changed.endpoints[0]
    assert plan(changed, seen, LOCAL) == (SetMtu(its), PutPort("warren0", endpoint_port(its)))
    assert plan(changed, carried_out(seen, plan(changed, seen, LOCAL)), LOCAL) == ()
    assert plan(changed, seen, LOCAL._replace(busy=frozenset({"wrn1"}))) == ()
    routed = changed._replace(endpoints=(changed.endpoints[0]._replace(mtu=1450, route_mtu=1350), changed.endpoints[1]))
    assert [type(step) for step in plan(routed, seen, LOCAL)] == [SetMtu, PutPort], "of its routes alone"
    assert plan(routed, carried_out(seen, plan(routed, seen, LOCAL)), LOCAL) == ()


def test_an_endpoints_limits_follow_the_document_and_come_back_when_somebody_takes_them_away() -> None:
    seen = kept(1, 2)
    limited = endpoint(1)._replace(limits=Limits(8000, 800, 0, 0))
    changed = wanted(1, 2)._replace(endpoints=(limited, endpoint(2)))
    assert plan(changed, seen, LOCAL) == (SetLimits(limited), PutPort("warren0", endpoint_port(limited)))
    held = carried_out(seen, plan(changed, seen, LOCAL))
    assert plan(changed, held, LOCAL) == ()
    assert plan(changed, held._replace(unlimited=frozenset({"wrn1"})), LOCAL) == (SetLimits(limited),)
    gone = plan(wanted(1, 2), held, LOCAL)
    assert [type(step) for step in gone] == [SetLimits, PutPort] and gone[0] == SetLimits(endpoint(1))
    assert plan(wanted(1, 2), carried_out(held, gone), LOCAL) == ()


TAP = endpoint(7)._replace(port_name="tap0", interface="tap0", mtu=1450)


def with_tap(*ids: int) -> Wanted:
    return wanted(*ids)._replace(endpoints=(*wanted(*ids).endpoints, TAP))


def test_an_interface_of_the_hosts_own_is_kept_as_a_port_and_its_mtu_left_alone() -> None:
    tap = Link(True, 1500, made=False)
    seen = kept(1)
    seen = seen._replace(links={**seen.links, "tap0": tap, "eth0": tap})
    steps = plan(with_tap(1), seen, LOCAL)
    assert steps == (PutPort("warren0", endpoint_port(TAP)),)
    after = carried_out(seen, steps)
    assert plan(with_tap(1), after, LOCAL) == () and states(with_tap(1), after, LOCAL)[7] == "up"
    down = after._replace(links={**after.links, "tap0": tap._replace(up=False)})
    assert plan(with_tap(1), down, LOCAL) == (RaiseLink("tap0"),)


def test_an_interface_of_the_hosts_own_is_given_back_and_never_deleted() -> None:
    ids = {**endpoint_port(TAP).external_ids, WAS_DOWN: "true"}
    port = endpoint_port(TAP)._replace(external_ids=ids, actual=TAP.ofport)
    seen = kept(1)
    links = {**seen.links, "tap0": Link(True, 1500, False), "tap1": Link(True, 1500, False)}
    seen = seen._replace(ports={**seen.ports, "tap0": port}, links=links)
    assert plan(wanted(1), seen, LOCAL) == (DropPort("warren0", "tap0"), LowerLink("tap0"))
    assert plan(wanted(1), seen, LOCAL._replace(fresh=False)) == (), "missing data is not deleted data"


def test_what_only_has_the_name_of_a_pair_of_ours_is_not_touched() -> None:
    seen = kept(1)
    strange = seen._replace(links={"wrn1": Link(False, 1500, made=False)})
    assert plan(wanted(1), strange, LOCAL) == ()


def test_what_differs_between_the_bridge_and_the_document_is_listed() -> None:
    there = kept(1)
    odd = {"eth9": Port("eth9", 7), "wrn9": Port("wrn9", 109, external_ids={ENDPOINT: "9", "container": "c9"})}
    odd_there = there._replace(ports={**there.ports, **odd})
    assert missing(wanted(1, 2), there, LOCAL) == (2,)
    assert strays(wanted(1, 2), there, LOCAL) == ()
    assert strays(wanted(1, 2), odd_there, LOCAL) == (Stray("eth9", None, ""), Stray("wrn9", 9, "c9"))
    addresses_only = wanted(1, 2)._replace(endpoints=(endpoint(1), endpoint(2)._replace(container_id="ipam:lan:c2")))
    assert missing(addresses_only, there, LOCAL) == ()
    busy = LOCAL._replace(busy=frozenset({"wrn2", "wrn9"}))
    assert missing(wanted(1, 2), there, busy) == ()
    assert strays(wanted(1, 2), odd_there, busy) == (Stray("eth9", None, ""),)


def test_the_resolvers_port_is_made_when_its_interface_is_there_and_the_interface_is_left_alone() -> None:
    links = {"warren0-dns": Link(True, 1500, made=True)}
    steps = plan(wanted(), Seen(links=links), LOCAL)
    assert PutPort("warren0", Port("warren0-dns", 3)) in steps
    assert DropLink("warren0-dns") not in steps
    without = plan(wanted(), Seen(), LOCAL)
    assert not any(isinstance(step, PutPort) and step.port.name == "warren0-dns" for step in without)
