"""What a host keeps its way to, whatever addresses endpoints have."""

from __future__ import annotations

from ovs_agent.document import Peer
from ovs_agent.lifeline import addresses_of, lifelines, spare
from tests.pure.test_plan import endpoint, wanted

LINES = lifelines(
    wanted()._replace(peers=(Peer("h2", "192.0.2.12"),), controllers=("ssl:[2001:db8::1]:6653", "tcp:192.0.2.1:6653")),
    {"203.0.113.9"},
    [("eth0", "198.18.0.11/24"), ("eth0", "fd00:18::11/64"), ("lo", "127.0.0.1/8"), ("eth0", "fe80::1/64")],
)


def kept(*addresses: str, from_host: bool = True) -> tuple[tuple[str, ...], tuple[str, ...]]:
    one = endpoint(1)._replace(addresses=addresses, from_host=from_host, network="net/x1", name="net/evil")
    ((left,), said) = spare([one], LINES)
    assert left == one._replace(addresses=left.addresses)
    return left.addresses, said


def test_addresses_of_who_a_host_must_reach_are_left_to_them() -> None:
    for address, whose in (
        ("198.18.0.1/24", "in 198.18.0.0/24 of the host's interface eth0"),
        ("fd00:18::77/64", "in fd00:18::/64 of the host's interface eth0"),
        ("192.0.2.12/16", "the address of host h2"),
        ("192.0.2.1/30", "a controller's address"),
        ("2001:db8::1/64", "a controller's address"),
        ("203.0.113.9/24", "the API's address"),
    ):
        left, (said,) = kept(address, "10.20.0.9/24")
        assert left == ("10.20.0.9/24",)
        assert said.startswith(f"Endpoint net/evil has {address.partition('/')[0]}, which is {whose}: ")
        assert "network net/x1 anew" in said


def test_all_others_stay_reached() -> None:
    for addresses in (("10.20.0.9/24", "fd00:20::9/64"), ("192.0.2.13/24",), ("198.18.1.11/16",)):
        assert kept(*addresses) == (addresses, ())
    assert kept("198.18.0.1/24", from_host=False) == (("198.18.0.1/24",), ()), "the host has no route to it anyway"


def test_a_network_is_named_once() -> None:
    evil = [endpoint(n)._replace(addresses=(f"198.18.0.{n}/24",), from_host=True, network="net/x1") for n in (1, 2)]
    assert len(spare(evil, LINES)[1]) == 1


def test_the_apis_address_is_that_of_its_url() -> None:
    assert addresses_of("https://192.0.2.1:8080") == {"192.0.2.1"}
    assert addresses_of("http://[2001:db8::1]:8080/") == {"2001:db8::1"}
