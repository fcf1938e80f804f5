"""The table of rules that the agent keeps, and which tables of others are in its way."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest

from controller.pipeline import packet
from ovs_agent import nat
from ovs_agent.document import Published
from ovs_agent.listening import Listener, but_reserved, listeners
from ovs_agent.netlink.connections import Connection

GATEWAY = "warren0-gw"


def test_the_agent_and_the_flows_mean_the_same_addresses() -> None:
    for version, network in nat.TRANSIT.items():
        assert int(network.network_address) == packet.TRANSIT[version]
        assert int(network.netmask) == packet.TRANSIT_MASK[version]
        mesh = nat.MESH[version]
        assert (int(mesh.network_address), int(mesh.netmask)) == (packet.MESH[version], packet.MESH_MASK[version])
        to = ipaddress.ip_address(str(nat.called(published(mesh=77), version, 300)))
        assert int(to) == packet.MESH[version] | 300 << packet.MESH_ENDPOINT_BITS | 77
        last = ipaddress.ip_address(str(nat.called(published(mesh=4095), version, (1 << packet.MESH_HOST_BITS) - 1)))
        assert last == mesh.broadcast_address


def test_the_table_is_replaced_whole_and_no_other_is_named() -> None:
    rules = nat.ruleset(GATEWAY)
    assert rules.startswith("table inet warren\ndelete table inet warren\ntable inet warren {\n")
    assert "flush" not in rules and rules.count("delete") == 1


def published(**more: Any) -> Published:
    said = {"host_ip": "", "host_port": 8080, "port": 80, "count": 1, "protocol": "tcp", "families": (4, 6)}
    return Published(**{"endpoint": "acme/web1", "ofport": 0x0164, **said, **more})


def test_published_ports_lead_to_the_endpoints_address_at_the_gateway() -> None:
    rules = nat.ruleset(GATEWAY, [published(), published(host_ip="192.0.2.1", host_port=90, count=2, protocol="udp")])
    assert "meta l4proto . th dport map { tcp . 8080 : 240.119.1.100 . 80 }" in rules
    assert "{ tcp . 8080 : fd77:6172:7265:6f75::164 . 80 }" in rules
    to = "192.0.2.1 . udp . 90 : 240.119.1.100 . 80, 192.0.2.1 . udp . 91 : 240.119.1.100 . 81"
    assert f"ip daddr . meta l4proto . th dport map {{ {to} }}" in rules
    assert rules.index("192.0.2.1") < rules.index("tcp . 8080"), "the one that says more comes first"
    only_ipv4 = nat.ruleset(GATEWAY, [published(host_ip="0.0.0.0")])
    assert "240.119.1.100" in only_ipv4 and "6f75::164" not in only_ipv4
    assert "240.119.1.100" not in nat.ruleset(GATEWAY, [published(families=(6,))])


def test_ports_of_all_hosts_lead_by_this_hosts_number_to_an_endpoint_elsewhere() -> None:
    rules = nat.ruleset(GATEWAY, [published(mesh=1), published(host_port=90)], host=3)
    assert "{ tcp . 8080 : 244.0.48.1 . 80, tcp . 90 : 240.119.1.100 . 80 }" in rules
    assert "{ tcp . 8080 : fd77:6172:7265:6f75:0:1:0:3001 . 80" in rules
    assert nat.networks([published(mesh=1)], ()) == ["244.0.0.0/6", "fd77:6172:7265:6f75:0:1::/102"]
    assert nat.networks([published()], ()) == []


def test_connections_are_astray_whose_port_leads_elsewhere_or_nowhere() -> None:
    ways = {**nat.ways([published(), published(host_ip="192.0.2.1", port=81), published(host_port=90, mesh=1)], host=3)}
    ways |= nat.ways([published(protocol="udp", host_port=53)], host=3)
    here, there = "240.119.1.100", "244.0.48.1"
    open_ones = [
        Connection(6, "192.0.2.2", 8080, here, 80, b""),
        Connection(6, "192.0.2.1", 8080, here, 81, b""),
        Connection(6, "2001:db8::1", 8080, "fd77:6172:7265:6f75::164", 80, b""),
        Connection(6, "192.0.2.2", 90, there, 80, b""),
        Connection(1, "10.1.0.9", 0, here, 0, b""),  # the host's own way to an endpoint
        Connection(6, "198.51.100.1", 443, "10.0.0.1", 8443, b""),  # somebody else's translation
        Connection(17, "198.51.100.1", 53, "198.51.100.1", 53, b""),  # of the host, or of who goes out by it
        Connection(6, "192.0.2.2", 8080, "192.0.2.2", 8080, b""),  # it has begun at the host
    ]
    closed = [
        Connection(17, "192.0.2.2", 8080, here, 80, b""),
        Connection(6, "192.0.2.1", 8080, here, 80, b""),
        Connection(6, "192.0.2.2", 8081, here, 80, b""),
        Connection(6, "192.0.2.2", 90, "244.0.48.2", 80, b""),
        Connection(6, "2001:db8::1", 8080, "fd77:6172:7265:6f75:0:1:0:3001", 80, b""),
        Connection(1, "10.1.0.8", 0, here, 0, b""),
        Connection(17, "192.0.2.2", 53, "192.0.2.2", 53, b""),  # a stream to the host, from before
    ]
    own = {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
    assert nat.astray([*open_ones, *closed], ways, {"10.1.0.9": here}, own) == closed


def test_a_host_whose_number_does_not_fit_says_so() -> None:
    assert "244.0.0.1" not in nat.ruleset(GATEWAY, [published(mesh=1)], host=1 << 14)
    (said,) = nat.closed([published(mesh=1)], 1 << 14, set()).values()
    assert "host number 16384" in said
    assert not nat.closed([published()], 1 << 14, set()) and not nat.closed([published(mesh=1)], (1 << 14) - 1, set())


def test_ports_by_an_address_that_the_host_has_not_got_are_not_open() -> None:
    own = {"192.0.2.1", "2001:db8::1"}
    there = [published(host_ip=ip) for ip in ("", "0.0.0.0", "::", *own, "127.0.0.9", "::1", "fe80::1")]
    gone = published(host_ip="192.0.2.2", host_port=90, count=2, protocol="udp")
    closed = nat.closed([*there, gone], 1, own)
    assert list(closed) == [gone] and "has no address 192.0.2.2" in closed[gone]
    (said,) = nat.not_open(closed)
    assert said.startswith("Port udp/90-91, which is published for acme/web1, is not open: the host has no address")
    kept = nat.own(["127.0.0.1", "::1", "fe80::1", "240.119.0.1", "fd77:6172:7265:6f75::1", "198.18.0.9", *own])
    assert kept == ("192.0.2.1", "198.18.0.9", "2001:db8::1")


@pytest.mark.parametrize(
    ("listener", "way", "is_said"),
    [
        (Listener("tcp", "0.0.0.0", 8080), published(), True),
        (Listener("tcp", "192.0.2.1", 8080), published(), True),
        (Listener("tcp", "192.0.2.1", 8080), published(host_ip="192.0.2.2"), False),
        (Listener("tcp", "192.0.2.2", 8080), published(host_ip="192.0.2.2"), True),
        (Listener("udp", "0.0.0.0", 8080), published(), False),
        (Listener("tcp", "0.0.0.0", 8081), published(), False),
        (Listener("tcp", "::", 8081), published(count=2), True),
        (Listener("tcp", "::", 8080), published(host_ip="192.0.2.1"), True),
        (Listener("tcp", "0.0.0.0", 8080), published(host_ip="::"), False),
        (Listener("tcp", "0.0.0.0", 8080), published(host_ip="2001:db8::1"), False),
        (Listener("tcp", "2001:db8::1", 8080), published(host_ip="::"), True),
    ],
)
def test_programs_that_nobody_hears_any_more_are_named(listener: Listener, way: Published, is_said: bool) -> None:
    assert bool(nat.occupied([way], [listener])) is is_said
    said = nat.unheard([way], [listener])
    assert bool(said) is is_said and all(f"tcp/{listener.port}" in one and "acme/web1" in one for one in said)


def test_listening_sockets_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st\n"
    (tmp_path / "tcp").write_text(f"{head}   0: 0100007F:1F90 00000000:0000 0A\n   1: 0100007F:0050 0200007F:0001 01\n")
    (tmp_path / "udp6").write_text(f"{head}   0: {'0' * 32}:0035 {'0' * 32}:0000 07\n")
    assert listeners(tmp_path) == [Listener("tcp", "127.0.0.1", 8080), Listener("udp", "::", 53)]


def test_a_monitor_of_containers_reserves_the_port_that_it_asks_for_and_no_program_does(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    sockets = ((8080, 71), (8081, 72), (8082, 73), (8083, 74))
    lines = [f"0: 00000000:{port:04X} 00000000:0000 0A 0:0 00:0 0 0 0 {inode} 1" for port, inode in sockets]
    (tmp_path / "net" / "tcp").write_text("\n".join(["head", *lines]))
    for pid, comm, inodes in ((7, "conmon", (71, 72)), (8, "httpd", (73, 74))):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "comm").write_text(f"{comm}\n")
        (tmp_path / str(pid) / "fd" / "0").symlink_to("/dev/null")
        for inode in inodes:
            (tmp_path / str(pid) / "fd" / str(inode)).symlink_to(f"socket:[{inode}]")
    (tmp_path / "9").mkdir()  # it has ended
    found = listeners(tmp_path / "net")
    assert [one.port for one in found] == [8080, 8081, 8082, 8083]
    asked = nat.host_ports([published(), published(host_port=8082, count=2)])
    left = but_reserved(found, asked, tmp_path)
    assert [one.port for one in left] == [8081, 8082, 8083], "it holds 8081 for what nobody asks Warren for"
    assert not nat.unheard([published()], left) and nat.unheard([published(host_port=8082)], left)
    assert but_reserved(found, {("tcp", 80), ("udp", 8080)}, tmp_path / "none") == found


def chain(table: str, name: str, family: str = "ip", **more: str) -> dict[str, Any]:
    return {"chain": {"family": family, "table": table, "name": name, **more}}


def forward(table: str, policy: str = "drop", family: str = "ip") -> dict[str, Any]:
    return chain(table, "FORWARD", family, hook="forward", policy=policy)


def rule(table: str, way: str, name: str = GATEWAY, verdict: str = "accept", family: str = "ip") -> dict[str, Any]:
    match = {"match": {"op": "==", "left": {"meta": {"key": way}}, "right": name}}
    return {"rule": {"family": family, "table": table, "chain": "X", "expr": [match, {verdict: None}]}}


def ended(table: str, verdict: dict[str, Any], *before: dict[str, Any], family: str = "ip") -> dict[str, Any]:
    """The last rule of a chain, as nft 1.0.6 lists what iptables made."""
    expr = [*before, {"counter": {"packets": 0, "bytes": 0}}, verdict]
    return {"rule": {"family": family, "table": table, "chain": "FORWARD", "expr": expr}}


REJECT = {"xt": {"type": "target", "name": "REJECT"}}
RULED_OUT = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}
FROM_LO = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}
ZONED = [rule("firewalld", way, verdict="goto", family="inet") for way in ("iifname", "oifname")]
DROPPING = chain("ff", "f", hook="forward", policy="drop")
IN, OUT = rule("filter", "iifname"), rule("filter", "oifname")


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ([], ""),
        ([forward("filter", "accept")], ""),
        ([forward("warren", family="inet")], ""),
        ([forward("filter"), IN, OUT], ""),
        ([forward("filter"), IN], "iptables -I FORWARD -i warren0-gw -j ACCEPT"),
        ([forward("filter"), rule("filter", "iifname", "eth0"), OUT], "iptables -I FORWARD -o warren0-gw -j ACCEPT"),
        ([forward("filter"), rule("filter", "iifname", verdict="drop"), OUT], "`ip filter` drops"),
        ([forward("filter"), chain("filter", "DOCKER-USER")], "iptables -I DOCKER-USER -i warren0-gw -j ACCEPT"),
        ([forward("filter", family="ip6"), IN, OUT], "ip6tables -I FORWARD"),
        ([forward("filter"), chain("filter", "ufw-user-forward")], "ufw route allow in on warren0-gw"),
        ([forward("fw", family="inet")], 'nft insert rule inet fw FORWARD iifname "warren0-gw" accept'),
        ([forward("filter", family="inet")], 'nft insert rule inet filter FORWARD oifname "warren0-gw" accept'),
        ([DROPPING], 'nft insert rule ip ff f iifname "warren0-gw" accept'),
        ([DROPPING], 'nft insert rule ip ff f oifname "warren0-gw" accept'),
        ([DROPPING, rule("ff", "iifname"), rule("ff", "oifname")], ""),
        ([forward("mangle")], 'nft insert rule ip mangle FORWARD iifname "warren0-gw" accept'),
        ([DROPPING, chain("ff", "DOCKER-USER")], "nft insert rule ip ff f"),
        ([forward("filter", "accept"), ended("filter", REJECT)], "iptables -I FORWARD -i warren0-gw -j ACCEPT"),
        ([forward("filter", "accept"), ended("filter", {"drop": None})], "iptables -I FORWARD -o warren0-gw -j ACCEPT"),
        ([forward("filter", "accept"), ended("filter", REJECT), IN, OUT], ""),
        ([forward("filter", "accept"), ended("filter", {"drop": None}, FROM_LO)], ""),
        ([forward("filter", "accept"), ended("filter", REJECT, {"xt": {"type": "match", "name": "mark"}})], ""),
        ([forward("filter", "accept"), ended("filter", {"accept": None})], ""),
        ([chain("filter", "FORWARD"), ended("filter", REJECT)], ""),
        ([forward("firewalld", "accept", "inet"), ended("firewalld", RULED_OUT, family="inet")], "`inet firewalld`"),
        ([forward("firewalld", "accept", "inet"), ended("firewalld", RULED_OUT, family="inet"), *ZONED], ""),
        ([forward("firewalld", family="inet"), *ZONED], "`inet firewalld` drops"),
    ],
)
def test_who_drops_what_is_forwarded_is_said_with_the_remedy(listed: list[dict[str, Any]], said: str) -> None:
    found = nat.obstacles(listed, GATEWAY)
    assert (said in " ".join(found)) if said else not found
