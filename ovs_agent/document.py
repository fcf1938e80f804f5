"""The API's document for one host: what its agent must have.

Decides what of it is needed and how its parts are called here. Who fetches and keeps it, and what is done about it, is
others' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

ADDRESSES_ONLY = "ipam:"
"""How the container id of an endpoint begins whose interface another plugin makes: it never has a port."""


def attachment_path(host: str, key: tuple[str, str]) -> str:
    """Where the API has an interface of a host, by its container and its name there."""
    container, ifname = (quote(part, safe="") for part in key)
    return f"/hosts/{host}/attachments/{container}/{ifname}"


LARGEST_MTU = 65535


class Tunnel(NamedTuple):
    """A port that joins the bridge with other hosts; `suffix` is its name's, after the bridge's."""

    type: str
    suffix: str
    port: int | None  # UDP, where it has one
    ofport: int


UNDERLAY = "underlay"


class Segment(NamedTuple):
    """A physical segment that networks are on; `ofport` is its port's on every host that has it. UNDERLAY is the one
    that the host's own address is on."""

    name: str
    ofport: int


class Gateway(NamedTuple):
    ofport: int
    mac: str


class Peer(NamedTuple):
    """Another host, and where its tunnels end."""

    name: str
    address: str


class Resolver(NamedTuple):
    """The port behind which DNS queries are answered, and the MAC of its other end."""

    ofport: int
    mac: str


RESOLVER = Resolver(3, "02:77:61:72:64:6e")
"""Settled like the flows that lead there, so that names are answered before the API is."""


class Limits(NamedTuple):
    """Bits per second and bits; a rate of 0 is no limit. `ingress` is into the container."""

    ingress_rate: int = 0
    ingress_burst: int = 0
    egress_rate: int = 0
    egress_burst: int = 0


class Endpoint(NamedTuple):
    """One interface of a container on this host, as the API describes it."""

    id: int
    name: str
    network: str
    ofport: int
    port_name: str
    mac: str
    addresses: tuple[str, ...]  # with prefix length
    gateways: tuple[str, ...]
    mtu: int
    route_mtu: int  # of what leaves the network
    container_id: str
    ifname: str
    netns: str
    interface: str = ""  # the host's own, that is the port; empty: a veth pair is made
    from_host: bool = False  # whether the host reaches it by its own addresses
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    limits: Limits = Limits()

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Endpoint:
        optional = {"interface": document.get("interface", ""), "from_host": document.get("from_host", False)}
        optional |= {**document["dns"], "limits": Limits(**document.get("limits", {}))}
        fields = {name: document[name] for name in cls._fields if name not in optional} | optional
        for name in ("addresses", "gateways", "nameservers", "search"):
            fields[name] = tuple(fields[name] or ())
        for name in ("container_id", "ifname", "netns"):
            fields[name] = fields[name] or ""
        return cls(**fields)

    @property
    def key(self) -> tuple[str, str]:
        """What a runtime calls this interface: container and interface name."""
        return self.container_id, self.ifname


class Published(NamedTuple):
    """Ports of this host that lead to an endpoint's, here or, with `mesh`, on another host. `host_ip` empty: any
    address of the host; 0.0.0.0 and ::: any of that family. `id` is the API's; 0 in a document of an older API."""

    endpoint: str
    ofport: int
    families: tuple[int, ...]
    protocol: str
    host_ip: str
    host_port: int
    port: int
    count: int
    mesh: int = 0  # its number among endpoints that all hosts publish; 0: it is here
    id: int = 0

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Published:
        optional = cls._field_defaults
        fields = {name: document.get(name, 0) if name in optional else document[name] for name in cls._fields}
        return cls(**fields | {"families": tuple(fields["families"])})

    @property
    def ports(self) -> str:
        """The host's ports as text: `tcp/8080`, `udp/5000-5009`."""
        return f"{self.protocol}/{self.host_port}" + (f"-{self.host_port + self.count - 1}" if self.count > 1 else "")


class Wanted(NamedTuple):
    """The API's document for one host at one revision."""

    revision: int
    host: str
    datapath_id: str  # 16 hex digits
    address: str | None  # where other hosts' tunnels end
    controllers: tuple[str, ...]
    tunnels: tuple[Tunnel, ...]
    segments: tuple[Segment, ...]
    gateway: Gateway
    endpoints: tuple[Endpoint, ...]
    peers: tuple[Peer, ...] = ()
    published: tuple[Published, ...] = ()
    tunnels_revision: int = 0  # that of their newest change
    least_mtu: int = LARGEST_MTU  # of all hosts' underlays, in bytes

    @property
    def number(self) -> int:
        """The host's, which its bridge's datapath id ends with."""
        return int(self.datapath_id, 16) & 0xFFFF_FFFF_FFFF

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Wanted:
        """Raises KeyError, TypeError or ValueError when the document is not of the agreed form."""
        host = document["host"]
        return cls(
            revision=int(document["revision"]),
            host=host["name"],
            datapath_id=host["datapath_id"],
            address=host.get("address"),
            controllers=tuple(document["controllers"]),
            tunnels=tuple(Tunnel(**{name: one[name] for name in Tunnel._fields}) for one in document["tunnels"]),
            segments=tuple(Segment(**{name: one[name] for name in Segment._fields}) for one in document["segments"]),
            gateway=Gateway(**{name: document["gateway"][name] for name in Gateway._fields}),
            endpoints=tuple(Endpoint.parse(endpoint) for endpoint in document["endpoints"]),
            peers=tuple(Peer(peer["name"], peer["address"]) for peer in document["peers"]),
            published=tuple(Published.parse(one) for one in document.get("published", ())),
            tunnels_revision=int(document["tunnels_revision"]),
            least_mtu=int(host.get("least_mtu", LARGEST_MTU)),
        )
