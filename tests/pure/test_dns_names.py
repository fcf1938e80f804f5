"""What a name stands for, by who asks: tenants that use the same names and addresses, and what each may see."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import dns.message
import dns.rcode
import pytest
from dns.flags import AA, TC
from dns.message import Message

from ovs_agent.dns import wire
from ovs_agent.dns.answer import answer, reversed_address
from ovs_agent.dns.names import Incomplete, Names

DOMAIN = "warren.internal"
WEB, DB, RED, COMMON = 1, 2, 3, 4
DOCUMENT: dict[str, Any] = {
    "revision": 9,
    "whole": True,
    "domain": DOMAIN,
    "networks": {
        "1": {"name": "web", "tenant": "acme", "subnets": ["10.20.0.0/24", "fd00:20::/64"]},
        "2": {"name": "db", "tenant": "acme", "subnets": ["10.21.0.0/24"]},
        "3": {"name": "web", "tenant": "red", "subnets": ["10.20.0.0/24"]},
        "4": {"name": "net", "tenant": "common", "subnets": ["10.30.0.0/24"]},
    },
    "seen": {"1": [2, 4], "2": [1, 4], "3": []},
    "askers": {"100": 1, "101": 2, "102": 3},
    "names": {
        "endpoint/1": {
            "tenant": "acme",
            "network": 1,
            "labels": ["web1", "front"],
            "addresses": ["10.20.0.9", "fd00:20::9"],
        },
        "endpoint/2": {"tenant": "acme", "network": 1, "labels": ["web2", "front"], "addresses": ["10.20.0.10"]},
        "endpoint/3": {"tenant": "acme", "network": 2, "labels": ["store", "web9"], "addresses": ["10.21.0.9"]},
        "endpoint/4": {"tenant": "red", "network": 3, "labels": ["web1"], "addresses": ["10.20.0.9"]},
        "endpoint/5": {"tenant": "red", "network": 3, "labels": ["secret"], "addresses": ["10.20.0.66"]},
        "endpoint/6": {"tenant": "common", "network": 4, "labels": ["ntp"], "addresses": ["10.30.0.9"]},
        "record/1": {"tenant": "acme", "network": 0, "labels": ["printer"], "addresses": ["192.0.2.9"]},
        "record/2": {"tenant": "acme", "network": 1, "labels": ["store"], "addresses": ["192.0.2.10"]},
    },
}
NAMES = Names.parse(DOCUMENT)


def ask(name: str, kind: str = "A", network: int = WEB, names: Names = NAMES, **more: Any) -> Message | None:
    """None: it is passed on."""
    query = wire.parse_query(dns.message.make_query(name, kind, **more).to_wire())
    view = names.view(network)
    assert view is not None
    found = answer(names, view, query)
    return None if found is None else dns.message.from_wire(found.render(query, query.room(True)))


def addresses(name: str, kind: str = "A", network: int = WEB, names: Names = NAMES) -> set[str]:
    message = ask(name, kind, network, names)
    assert message is not None and message.rcode() == dns.rcode.NOERROR and message.flags & AA
    return {record.to_text() for rrset in message.answer for record in rrset}


def does_not_exist(name: str, kind: str = "A", network: int = WEB, names: Names = NAMES) -> bool:
    message = ask(name, kind, network, names)
    return message is not None and message.rcode() == dns.rcode.NXDOMAIN and not message.answer


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web1", "A", {"10.20.0.9"}),
        ("WEB1", "A", {"10.20.0.9"}),
        ("web1", "AAAA", {"fd00:20::9"}),
        ("front", "A", {"10.20.0.9", "10.20.0.10"}),
        ("web1.web", "A", {"10.20.0.9"}),
        ("web1.web.acme.warren.internal", "AAAA", {"fd00:20::9"}),
        ("Web1.Acme.Warren.Internal", "A", {"10.20.0.9"}),
        ("web9", "A", {"10.21.0.9"}),
        ("store", "A", {"192.0.2.10"}),
        ("store.db", "A", {"10.21.0.9"}),
        ("printer", "A", {"192.0.2.9"}),
        ("printer.acme.warren.internal", "A", {"192.0.2.9"}),
        ("ntp.net.common.warren.internal", "A", {"10.30.0.9"}),
        ("ntp.common.warren.internal", "A", {"10.30.0.9"}),
    ],
)
def test_a_name_stands_for_its_addresses(name: str, kind: str, expected: set[str]) -> None:
    assert addresses(name, kind) == expected


def test_the_nearest_wins() -> None:
    assert addresses("store", network=DB) == {"10.21.0.9"}
    assert addresses("web1", network=RED) == {"10.20.0.9"}
    assert does_not_exist("web2", network=RED)


@pytest.mark.parametrize("name", ["web2", "front.web", "acme.warren.internal", "web.acme.warren.internal", DOMAIN])
def test_a_known_name_of_another_family_or_type_exists_and_has_none(name: str) -> None:
    for kind in ("AAAA",) if name != "front.web" else ("MX", "TXT", "PTR"):
        assert addresses(name, kind) == set()


@pytest.mark.parametrize(
    "name",
    [
        *("nobody", "nobody.warren.internal", "nobody.web.acme.warren.internal", "a.b.web1.web.acme.warren.internal"),
        *("ntp", "printer.web.acme.warren.internal"),
    ],
)
def test_no_such_name_of_warrens(name: str) -> None:
    assert does_not_exist(name)


@pytest.mark.parametrize(
    "name", ["www.example.org", "nobody.web", "ntp.net", "warren.internal.example.org", ".", "web.arpa"]
)
def test_others_names_are_passed_on(name: str) -> None:
    assert ask(name) is None


def test_another_tenants_names_cannot_be_told_from_none() -> None:
    for hidden, missing in (
        ("secret", "nothere"),
        ("secret.web.red.warren.internal", "nothere.web.red.warren.internal"),
        ("secret.web.red.warren.internal", "x.web.nobody.warren.internal"),
        ("secret.red.warren.internal", "x.nobody.warren.internal"),
        ("red.warren.internal", "nobody.warren.internal"),
        ("web.red.warren.internal", "web.nobody.warren.internal"),
    ):
        one, other = ask(hidden), ask(missing)
        assert one is not None and other is not None
        assert one.rcode() == other.rcode() == dns.rcode.NXDOMAIN
        assert one.flags == other.flags and not one.authority and not other.authority
    assert does_not_exist("66.0.20.10.in-addr.arpa", "PTR") == does_not_exist("67.0.20.10.in-addr.arpa", "PTR") is True


@pytest.mark.parametrize(
    ("address", "network", "name"),
    [
        ("10.20.0.9", WEB, "web1.web.acme.warren.internal."),
        ("10.20.0.9", RED, "web1.web.red.warren.internal."),
        ("fd00:20::9", WEB, "web1.web.acme.warren.internal."),
        ("10.21.0.9", WEB, "store.db.acme.warren.internal."),
        ("10.30.0.9", WEB, "ntp.net.common.warren.internal."),
        ("192.0.2.9", WEB, "printer.acme.warren.internal."),
    ],
)
def test_an_address_has_a_name(address: str, network: int, name: str) -> None:
    import dns.reversename

    assert addresses(dns.reversename.from_address(address).to_text(), "PTR", network) == {name}


def test_an_address_nobody_has_does_not_exist_and_one_that_is_not_warrens_is_passed_on() -> None:
    assert does_not_exist("200.0.20.10.in-addr.arpa", "PTR")
    assert ask("4.4.8.8.in-addr.arpa", "PTR") is None
    assert ask("9.0.21.10.in-addr.arpa", "PTR", RED) is None
    for odd in ("9.0.20.300.in-addr.arpa", "x.0.20.10.in-addr.arpa", "20.10.in-addr.arpa", "a.ip6.arpa"):
        assert ask(odd, "PTR") is None and reversed_address(tuple(odd.split("."))) is None


def test_several_addresses_come_in_every_order() -> None:
    first: Counter[str] = Counter()
    for _ in range(200):
        message = ask("front")
        assert message is not None
        first[message.answer[0][0].to_text()] += 1
    assert min(first["10.20.0.9"], first["10.20.0.10"]) > 50


def test_what_is_no_question_for_addresses_is_refused() -> None:
    query = dns.message.make_query("web1", "A")
    query.set_opcode(dns.opcode.NOTIFY)
    view = NAMES.view(WEB)
    assert view is not None
    notify = answer(NAMES, view, wire.parse_query(query.to_wire()))
    assert notify is not None and notify.rcode == wire.NOTIMP
    chaos = answer(NAMES, view, wire.parse_query(dns.message.make_query("version.bind", "TXT", "CH").to_wire()))
    assert chaos is not None and chaos.rcode == wire.REFUSED
    later = ask("web1", use_edns=1)
    assert later is not None and later.rcode() == dns.rcode.BADVERS


def test_too_many_addresses_for_a_datagram_are_asked_for_by_tcp() -> None:
    many = {
        f"endpoint/{n}": {"tenant": "acme", "network": 1, "labels": [f"w{n}", "all"], "addresses": [f"10.20.0.{n}"]}
        for n in range(100, 180)
    }
    names = NAMES.changed({**DOCUMENT, "names": many})
    plain, roomy = ask("all", names=names), ask("all", names=names, use_edns=0, payload=1232)
    assert plain is not None and plain.flags & TC and not plain.answer
    assert roomy is not None and roomy.flags & TC
    assert len(addresses("w100", names=names)) == 1


def test_changes_are_laid_over_what_is_known() -> None:
    change = {
        **DOCUMENT,
        "revision": 10,
        "whole": False,
        "askers": {"100": 1},
        "seen": {"1": [2]},
        "networks": {id: DOCUMENT["networks"][id] for id in ("1", "2")},
        "names": {
            "endpoint/2": None,
            "endpoint/7": {"tenant": "acme", "network": 1, "labels": ["new"], "addresses": ["10.20.0.11"]},
        },
    }
    names = NAMES.changed(change)
    assert names.revision == 10 and addresses("new", names=names) == {"10.20.0.11"}
    assert does_not_exist("web2", names=names) and addresses("front", names=names) == {"10.20.0.9"}
    assert does_not_exist("ntp.net.common.warren.internal", names=names), "its network is seen no more"
    assert addresses("web2") == {"10.20.0.10"}, "what was known before is as it was"
    assert Names.parse(json.loads(json.dumps(names.document()))).document() == names.document()


def test_a_change_that_speaks_of_an_unknown_network_is_not_enough() -> None:
    unknown = {**DOCUMENT, "whole": False, "networks": {**DOCUMENT["networks"], "5": DOCUMENT["networks"]["4"]}}
    with pytest.raises(Incomplete):
        NAMES.changed(unknown)
