"""The network driver and the IPAM driver: Docker's words for networks, pools and endpoints, and Warren's.

It decides which Warren network a Docker network is and what each call answers. How an address is claimed and an
interface made it leaves to others; requests it gets as values.
"""

from __future__ import annotations

import ipaddress
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from logging import getLogger
from typing import Any

from client.rest import Problem, Rest, Unreachable
from ovs_agent.attach import Attacher
from ovs_agent.docker import messages
from ovs_agent.docker.addresses import PATIENCE, Addresses, Claim, peer_of
from ovs_agent.docker.book import Book, Joint, Net, Pool
from ovs_agent.docker.engine import Engine, Silent
from ovs_agent.docker.fields import IPNetwork, Refused
from ovs_agent.docker.messages import Call
from ovs_agent.docker.naming import labels
from ovs_agent.ledger import Key
from ovs_agent.publish import Publisher

log = getLogger(__name__)
SCOPE = "docker engine"
"""No name of a CNI network has a blank: its garbage collection is not for Docker's containers."""
SPACE = messages.CONSTANT["IpamDriver.GetDefaultAddressSpaces"]["LocalDefaultAddressSpace"]
PENDING = 5.0
"""Seconds that a subnet belongs to the network that is being created with it; then whoever asked is taken for dead."""
Reply = Mapping[str, Any]


class Driver:
    """`tenant` owns the networks of those who name none. `joined` hears that a container is about to start."""

    def __init__(
        self,
        attacher: Attacher,
        rest: Rest,
        host: str,
        tenant: str,
        book: Book,
        publisher: Publisher,
        engine: Engine,
        joined: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._joined = joined
        self._publisher = publisher
        self._attacher = attacher
        self._rest = rest
        self._host = host
        self._tenant = tenant
        self._book = book
        self._addresses = Addresses(attacher, self._taken)
        self._changed = threading.Condition()  # of pools
        self._plugging: dict[str, Future[None]] = {}  # by Docker's endpoint

    def answer(self, call: Call) -> Reply:
        """Raises Refused, Problem and whatever an attach raises."""
        match call:
            case messages.Constant():
                return call.reply
            case messages.RequestPool():
                return self._request_pool(call)
            case messages.ReleasePool():
                self._release_pool(call.pool)
            case messages.RequestAddress():
                return {"Address": self._request_address(call), "Data": {}}
            case messages.ReleaseAddress():
                self._release_address(call)
            case messages.CreateNetwork():
                self._create_network(call)
            case messages.DeleteNetwork():
                self._delete_network(call.id)
            case messages.CreateEndpoint():
                return self._create_endpoint(call)
            case messages.Join():
                return self._join(call)
            case messages.Publish():
                self._publish(call)
            case messages.OfEndpoint(messages.OPER_INFO):
                return {"Value": self._oper_info(call.id)}
            case messages.OfEndpoint():
                self._part(call)
        return {}

    def sweep(self) -> None:
        """Give back what dockerd could not."""
        gone = set(self._addresses.sweep(time.monotonic()))
        for joint in self._book.joints.all():
            if joint.key in gone:
                self._plugging.pop(joint.id, None)
                self._book.joints.drop(joint.id)
        for net in self._book.nets.all():
            if net.ended:
                with suppress(Problem, Unreachable):  # others' endpoints may be in it still
                    self._end_network(net)

    # -- pools: the subnets of a network that dockerd has not named yet ------------------------------------------

    def _request_pool(self, asked: messages.RequestPool) -> Reply:
        subnet, network, gateway = asked.subnet, "", ""
        if asked.tenant and not asked.network:
            raise Refused("Option --ipam-opt tenant= needs --ipam-opt network= beside it; or give both with -o.")
        if asked.network:
            network = self._named(asked.tenant, asked.network)
            known = self._look_up(network)
            if known is not None:
                subnet, gateway = _of_family(known, 6 if asked.v6 else 4, subnet)
        if subnet is None:
            if network:
                raise Refused(f"There is no network {network} yet; give its --subnet, or create it in Warren first.")
            raise Refused(
                "Warren cannot tell which subnet is meant, since dockerd passes -o options later. Give --subnet, or "
                "name a network of Warren's with --ipam-opt network=NAME (and --ipam-opt tenant=TENANT)."
            )
        part = "" if asked.range is None else str(asked.range)
        pool = Pool(f"{subnet}/{secrets.token_hex(6)}", str(subnet), part, network, "", gateway, time.time())
        with self._changed:
            if not self._changed.wait_for(lambda: self._pending(subnet) is None, PENDING if asked.subnet else 0):
                if asked.subnet is None:
                    # dockerd found a route of the host in the way, keeps what it got and wants another.
                    raise Refused(f"Subnet {subnet} of {network} overlaps a route of this host; insist with --subnet.")
                self._book.pools.drop(self._pending(subnet).id)  # type: ignore[union-attr]
            self._book.pools.put(pool)
        return {"PoolID": pool.id, "Pool": pool.subnet, "Data": {}}

    def _pending(self, subnet: IPNetwork) -> Pool | None:
        """The pool of a network that is being created with this subnet. Docker does not say which pool a new network
        has, only its subnet: so one at a time."""
        for pool in self._book.pools.all():
            if not pool.docker_network and pool.subnet == str(subnet):
                if abs(time.time() - pool.asked_at) < PENDING:
                    return pool
                self._book.pools.drop(pool.id)
        return None

    def _release_pool(self, id: str) -> None:
        with self._changed:
            self._book.pools.drop(id)
            self._changed.notify_all()

    def _request_address(self, asked: messages.RequestAddress) -> str:
        pool = self._book.pools.get(asked.pool)
        if pool is None:
            raise Refused(
                f"Pool {asked.pool} is not known on this host; remove the Docker network and create it again."
            )
        subnet = ipaddress.ip_network(pool.subnet)
        if asked.address and ipaddress.ip_address(asked.address) not in subnet:
            raise Refused(f"Address {asked.address} is not in subnet {subnet}; choose one inside.")
        if asked.gateway:
            address = asked.address or pool.gateway or str(subnet[1 if subnet.num_addresses > 2 else 0])
            if pool.docker_network and address != pool.gateway:
                raise Refused(f"Subnet {subnet} has gateway {pool.gateway or 'none'} already; {address} cannot be one.")
            self._book.pools.put(pool._replace(gateway=address))
            return f"{address}/{subnet.prefixlen}"
        if not pool.docker_network:
            if not asked.address or asked.mac:
                raise Refused("The addresses of a Warren network are for its own driver; create it with -d warren too.")
            return f"{asked.address}/{subnet.prefixlen}"  # auxiliary: CreateNetwork tells them again
        try:
            return self._addresses.request(pool.network, subnet.version, asked.address, asked.mac)
        except Problem as problem:
            if problem.status != 409 or not asked.address:
                raise
            given = self._reserved(pool.network, subnet.version, asked)
            if given is None:
                raise
            return given

    def _reserved(self, network: str, version: int, asked: messages.RequestAddress) -> str | None:
        """An address that is kept for the container that asks for it, by its name: Docker does not say it here, but
        knows which container was told to have the address."""
        try:
            names = labels(self._engine.asking(asked.address))
        except Silent as fault:
            log.warning("who asks for %s is not known: %s", asked.address, fault)
            return None
        for name in names:
            with suppress(Problem):
                return self._addresses.request(network, version, asked.address, asked.mac, name)
        return None

    def _release_address(self, asked: messages.ReleaseAddress) -> None:
        pool = self._book.pools.get(asked.pool)
        if pool is not None and pool.network and asked.address and asked.address != pool.gateway:
            self._addresses.release_address(pool.network, asked.address)

    # -- networks --------------------------------------------------------------------------------------------------

    def _create_network(self, asked: messages.CreateNetwork) -> None:
        known = self._book.nets.get(asked.id)
        if known is not None and not known.ended:
            return
        pools = [self._pool_of(one) for one in asked.subnets]
        names = {pool.network for pool in pools if pool.network}
        if asked.network:
            names.add(self._named(asked.tenant, asked.network))
        if len(names) > 1:
            raise Refused(f"The options name several networks, {' and '.join(sorted(names))}; name one.")
        own = not names
        network = names.pop() if names else self._named(asked.tenant, f"docker-{asked.id[:12]}")
        body = asked.wanted([pool.range for pool in pools if pool.range])
        net = Net(asked.id, network, asked.internal, own, asked.mesh)
        try:
            self._rest.put(self._path(network), json=body, timeout=PATIENCE)
        except Unreachable:
            if own:  # it may have been made all the same, and Docker never speaks of it again
                self._book.nets.put(net._replace(ended=True))
            raise
        self._book.nets.put(net)
        with self._changed:
            for pool in pools:
                self._book.pools.put(pool._replace(network=network, docker_network=asked.id))
            self._changed.notify_all()
        log.info("Docker network %s is %s", asked.id[:12], network)

    def _pool_of(self, said: messages.Subnet) -> Pool:
        if said.space == SPACE:
            for pool in self._book.pools.all():
                if not pool.docker_network and pool.subnet == str(said.subnet):
                    return pool
        raise Refused(
            f"Subnet {said.subnet} was not given out by Warren: Docker's own allocator would give the same address on "
            f"two hosts. Create the network with --ipam-driver warren too."
        )

    def _delete_network(self, id: str) -> None:
        net = self._book.nets.get(id)
        for pool in self._book.pools.all():
            if pool.docker_network == id:
                self._release_pool(pool.id)
        if net is not None:
            # Docker says it once, and forgets the network whatever it hears: what cannot be done now, the sweep does.
            self._book.nets.put(net._replace(ended=True))
            try:
                self._end_network(net)
            except Unreachable as fault:
                log.warning("removal of %s is put off: %s", net.network, fault)

    def _end_network(self, net: Net) -> None:
        try:
            if net.own:
                self._rest.delete(self._path(net.network), timeout=PATIENCE)
        except Problem as problem:
            if problem.status in (403, 404):  # not this host's any more, or gone with its tenant
                self._book.nets.drop(net.id)
            raise
        self._book.nets.drop(net.id)

    # -- endpoints -------------------------------------------------------------------------------------------------

    def _create_endpoint(self, asked: messages.CreateEndpoint) -> Reply:
        net = self._net(asked.network)
        known = self._book.joints.get(asked.id)
        if known is None:
            claim = self._addresses.settle(net.network, list(asked.addresses), asked.mac, asked.name, asked.labels)
            known = Joint(
                asked.id,
                net.id,
                *claim.endpoint.key,
                wish=claim.wish,
                addresses=asked.addresses or claim.endpoint.addresses,
                ports=asked.ports,
                mesh=net.mesh if asked.mesh is None else asked.mesh,
            )
            self._book.joints.put(known)
            # Docker comes back for the interface in Join, and has other things to do until then.
            self._plugging[known.id] = self._plug(claim)
        else:
            claim = self._addresses.renew(known.key, known.wish)
        interface: dict[str, str] = {} if asked.mac else {"MacAddress": claim.endpoint.mac}
        if not asked.addresses:
            for address in known.addresses:
                interface["AddressIPv6" if ":" in address else "Address"] = address
        return {"Interface": interface}

    def _join(self, asked: messages.Join) -> Reply:
        net, joint = self._net(asked.network), self._joint(asked.id)
        claim = self._addresses.current(joint.key, joint.wish)
        (self._plugging.pop(joint.id, None) or self._plug(claim)).result()
        self._keep_ports(joint, asked.ports, joint.way_in)
        self._joined()
        reply: dict[str, Any] = {"InterfaceName": {"SrcName": peer_of(claim.endpoint), "DstPrefix": "eth"}}
        if net.internal:
            return {**reply, "DisableGatewayService": True}
        families = {ipaddress.ip_interface(address).version for address in joint.addresses}
        for gateway in claim.endpoint.gateways:
            version = ipaddress.ip_address(gateway).version
            if version in families:
                reply["Gateway" if version == 4 else "GatewayIPv6"] = gateway
        return reply

    def _plug(self, claim: Claim) -> Future[None]:
        return self._attacher.plugging(claim.endpoint, claim.revision, peer_of(claim.endpoint), SCOPE)

    def _unplug(self, joint: Joint) -> None:
        plugging = self._plugging.pop(joint.id, None)
        if plugging is not None and not plugging.cancel():
            wait([plugging])
        self._attacher.unplug(joint.key)

    def _publish(self, asked: messages.Publish) -> None:
        joint = self._book.joints.get(asked.id)
        if joint is not None:
            self._keep_ports(joint, asked.ports, True)
            if asked.ports:
                more = {"count": 1, **({"mesh": True} if joint.mesh else {})}
                ports = [
                    {**port._asdict(), "host_ip": port.host_ip or None, **more} for port in asked.ports if port.port
                ]
                self._publisher.publish(joint.key, ports)

    def _keep_ports(self, joint: Joint, ports: tuple[tuple[Any, ...], ...], way_in: bool) -> None:
        kept = joint._replace(ports=ports or joint.ports, way_in=way_in)
        if kept != joint:
            self._book.joints.put(kept)

    def _part(self, asked: messages.OfEndpoint) -> None:
        """Leave, DeleteEndpoint, RevokeExternalConnectivity; any of them may come again, or for what is unknown."""
        joint = self._book.joints.get(asked.id)
        if joint is None:
            return
        match asked.method:
            case messages.REVOKE:
                if joint.way_in and joint.ports:
                    self._publisher.withdraw(joint.key)
                self._keep_ports(joint, joint.ports, False)
            case messages.LEAVE:
                self._unplug(joint)
            case messages.DELETE_ENDPOINT:
                # Docker gives the addresses back next; if it cannot, the sweep does.
                self._unplug(joint)
                self._book.joints.drop(asked.id)

    def _oper_info(self, id: str) -> Reply:
        joint = self._book.joints.get(id)
        if joint is None:
            return {}
        name = f"{joint.wish['network'].split('/')[0]}/{joint.wish['name']}"
        return {"warren.endpoint": name, "warren.network": joint.wish["network"]}

    # -- names -----------------------------------------------------------------------------------------------------

    def _named(self, tenant: str, network: str) -> str:
        tenant = tenant or self._tenant
        if not tenant:
            raise Refused("Name a tenant with -o tenant=TENANT: this host's agent has no --docker-tenant.")
        return f"{tenant}/{network}"

    def _net(self, id: str) -> Net:
        net = self._book.nets.get(id)
        if net is None:
            raise Refused(
                f"Docker network {id[:12]} is not known on this host; remove it with `docker network rm` and create it "
                f"again."
            )
        return net

    def _joint(self, id: str) -> Joint:
        joint = self._book.joints.get(id)
        if joint is None:
            raise Refused(f"Docker endpoint {id[:12]} is not known on this host; start the container again.")
        return joint

    def _taken(self, key: Key) -> bool:
        return any(joint.key == key for joint in self._book.joints.all())

    def _look_up(self, network: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._rest.get(self._path(network), timeout=PATIENCE).body
        except Problem as problem:
            if problem.status != 404:
                raise
            return None
        return found

    def _path(self, network: str) -> str:
        return f"/hosts/{self._host}/networks/{network}"


def _of_family(network: Mapping[str, Any], version: int, subnet: IPNetwork | None) -> tuple[IPNetwork, str]:
    """The network's subnet of one family, which must be `subnet` if that is given, and its gateway."""
    for one in network["subnets"]:
        found = ipaddress.ip_network(one["cidr"])
        if found.version == version and subnet in (None, found):
            return found, one["gateway"] or ""
    has = " and ".join(one["cidr"] for one in network["subnets"])
    wanted = f"not {subnet}" if subnet else f"and no IPv{version} subnet"
    raise Refused(f"Network {network['name']} has {has}, {wanted}.")
