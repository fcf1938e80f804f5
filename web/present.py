"""Rows of the database as the API's JSON objects: the one place where a column becomes a field.

Pages for people show the same objects. It computes nothing that the database does not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from controller.calc.documents import read
from controller.model import Tier
from db import bandwidth, changes, tables, transport
from db import bindings as db_bindings
from db import blocks as db_blocks
from db import hosts as db_hosts
from db import ipam as db_ipam
from db import isolation as db_isolation
from db import pools as db_pools
from db import records as db_records
from db import reservations as db_reservations
from db import resolved as db_resolved
from db import subnetting as db_subnetting
from db.counters import RuleCount
from db.labels import with_name

Json = dict[str, Any]


def tenant(session: Session, row: tables.Tenant) -> Json:
    standing = db_isolation.standing(session, row)
    return _tenant(row, standing.kind) | {"joined": standing.joined, "peers": standing.peers}


def _tenant(row: tables.Tenant, isolation: str) -> Json:
    return {
        "name": row.name,
        "id": row.id,
        "zone": row.zone,
        "isolation": isolation,
        "labels": with_name(row.labels, row.name),
        "track_all": row.track_all,
        "default_deny": row.default_deny,
        "quota": row.quota,
        "networks": row.network_count,
        "endpoints": row.endpoint_count,
        "version": row.version,
        "created_at": row.created_at,
    }


def tenants(session: Session, rows: Sequence[tables.Tenant]) -> list[Json]:
    kinds = db_isolation.kinds(session, rows)
    return [_tenant(row, kinds[row.id]) for row in rows]


def networks(session: Session, rows: Sequence[tables.Network]) -> list[Json]:
    mtus = transport.mtus(session)
    return [_network(row, mtus) for row in rows]


def network(session: Session, row: tables.Network) -> Json:
    return _network(row, transport.mtus(session))


def _network(row: tables.Network, mtus: dict[str, int]) -> Json:
    return {
        "name": row.qualified_name,
        "tenant": row.tenant.name,
        "vni": row.vni,
        "zone": row.zone,
        "subnets": [_subnet(subnet) for subnet in row.subnets],
        "plan": row.plan,
        "strict": row.strict,
        "private": row.private,
        "isolated": row.isolated,
        "mtu": row.mtu or mtus[transport.narrowest(row)],
        "own_mtu": row.mtu,
        "transport": row.transport,
        "physical": row.physical and row.physical.name,
        "vlan": row.vlan if row.physical else None,
        "cross_subnet": row.cross_subnet,
        "broadcast": row.broadcast,
        "outbound": row.outbound,
        "labels": row.labels,
        "endpoints": row.endpoint_count,
        "version": row.version,
        "created_at": row.created_at,
    }


def _subnet(row: tables.Subnet) -> Json:
    return {
        "cidr": row.cidr,
        "gateway": row.gateway,
        "ip_range": row.ip_range,
        "excludes": row.excludes,
        "aux_addresses": row.aux,
        "block_size": row.block_size,
        "pool": None if row.address_pool is None else row.address_pool.name,
        "size": db_subnetting.size(row),
        "used": row.used,
    }


def pool(session: Session, row: tables.AddressPool) -> Json:
    return pools(session, [row])[0]


def pools(session: Session, rows: Sequence[tables.AddressPool]) -> list[Json]:
    used = db_pools.used(session, rows)
    usage = {row.id: db_ipam.Usage(db_pools.size(row), used.get(row.id, 0), 0) for row in rows}
    return [
        {
            "name": row.name,
            "cidr": row.cidr,
            "family": row.family,
            "prefix": row.prefix,
            "state": row.state,
            "size": usage[row.id].size,
            "used": usage[row.id].used,
            "nearly_full": usage[row.id].nearly_full,
            "version": row.version,
            "created_at": row.created_at,
        }
        for row in rows
    ]


def reservations(network: str, rows: Sequence[tables.Reservation]) -> list[Json]:
    """One for each name, with its addresses."""
    found: dict[str, Json] = {}
    for row in rows:
        one = {"network": network, "name": row.name, "addresses": []}
        known = found.setdefault(row.name, one | {"expires_at": row.expires_at, "created_at": row.created_at})
        known["addresses"].append(row.ip)
    return list(found.values())


def address_usage(session: Session, rows: Sequence[tables.Network]) -> list[Json]:
    now = datetime.now(UTC)
    usage = db_ipam.usage(session, [subnet for row in rows for subnet in row.subnets], now)
    reserved = db_reservations.by_network(session, [row.id for row in rows])
    return [
        {
            "network": row.qualified_name,
            "plan": row.plan,
            "subnets": [_subnet_usage(session, subnet, usage[subnet.id], now) for subnet in row.subnets],
            "reservations": reservations(row.qualified_name, reserved[row.id]),
        }
        for row in rows
    ]


def _subnet_usage(session: Session, row: tables.Subnet, usage: db_ipam.Usage, now: datetime) -> Json:
    return {
        "cidr": row.cidr,
        "gateway": row.gateway,
        **usage._asdict(),
        "nearly_full": usage.nearly_full,
        "blocks": [
            {"cidr": block.cidr, "host": block.host, "size": block.size, "used": block.used}
            for block in db_blocks.usage(session, row, now)
        ],
    }


def differences(found: Sequence[db_ipam.Difference]) -> list[Json]:
    return [{"kind": one.kind, "subject": one.subject, "sentence": one.sentence, "repair": one.repair} for one in found]


def endpoint(row: tables.Endpoint) -> Json:
    return {
        "name": row.qualified_name,
        "tenant": row.tenant.name,
        "network": f"{row.tenant.name}/{row.network.name}",
        "host": row.host.name,
        "move_to": row.move_to,
        "mac": row.mac,
        "addresses": [str(address) for address in row.addresses],
        "allowed": [
            {"address": _bare(pair.cidr), "mac": pair.mac or row.mac, "active": pair.active} for pair in row.allowed
        ],
        "labels": row.labels,
        "ports": row.ports,
        "aliases": row.aliases,
        "bandwidth": bandwidth.limits(row.bandwidth, row.tenant.quota),
        "state": row.state,
        "ofport": row.ofport,
        "container_id": row.container_id,
        "ifname": row.ifname,
        "interface": row.interface,
        "port_name": row.port_name,
        "version": row.version,
        "created_at": row.created_at,
    }


def _bare(cidr: str) -> str:
    """A range of one address as that address."""
    return cidr.removesuffix("/128" if ":" in cidr else "/32")


def endpoints(session: Session, rows: Sequence[tables.Endpoint]) -> list[Json]:
    return [endpoint(row) for row in rows]


def host(row: tables.Host) -> Json:
    status = row.status
    return {
        "name": row.name,
        "address": row.address,
        "mtu": row.mtu,
        "labels": row.labels,
        "datapath_id": f"{row.datapath_id:016x}",
        "datapath_type": row.datapath_type,
        "state": db_hosts.state(row, datetime.now(UTC)),
        "connected": status.connected,
        "endpoints": row.endpoint_count,
        "flows": status.flows,
        "drops": status.drops,
        "wanted_revision": status.wanted_revision,
        "confirmed_revision": status.confirmed_revision,
        "agent": {key: value for key, value in status.agent_report.items() if key != "connections"},
        "error": status.error,
        "seen_at": status.agent_seen_at,
        "version": row.version,
        "created_at": row.created_at,
    }


def hosts(session: Session, rows: Sequence[tables.Host]) -> list[Json]:
    return [host(row) for row in rows]


def policy(row: tables.Policy) -> Json:
    draft = read(row.document)
    return {
        "name": draft.qualified_name,
        "tenant": draft.tenant or None,
        "kind": row.kind,
        "tier": draft.tier.name.lower(),
        "priority": draft.priority if draft.tier in (Tier.ADMIN, Tier.BASELINE) else None,
        "subject": draft.subject,
        "ingress": None if draft.ingress is None else len(draft.ingress),
        "egress": None if draft.egress is None else len(draft.egress),
        "document": row.document,
        "version": row.version,
        "created_at": row.created_at,
    }


def policies(session: Session, rows: Sequence[tables.Policy]) -> list[Json]:
    return [policy(row) for row in rows]


def rules(session: Session, found: Sequence[RuleCount]) -> list[Json]:
    return [
        rule._asdict() | {"direction": rule.direction.name.lower(), "action": rule.action.name.lower()}
        for rule in found
    ]


def denials(rows: Sequence[tables.Denial]) -> list[Json]:
    return [
        {
            "action": row.action,
            "host": row.host,
            "direction": row.direction,
            "policies": row.policies,
            "rule": row.rule,
            "rule_name": row.rule_name,
            "source": row.source or None,
            "source_address": row.source_address,
            "destination": row.destination or None,
            "destination_address": row.destination_address,
            "protocol": row.protocol,
            "port": row.port,
            "icmp_type": row.icmp_type,
            "icmp_code": row.icmp_code,
            "count": row.count,
            "first_at": row.first_at,
            "last_at": row.last_at,
        }
        for row in rows
    ]


def names(session: Session, rows: Sequence[tables.ResolvedName]) -> list[Json]:
    policies = db_resolved.policies_meaning(session, [row.name for row in rows])
    return [
        {
            "name": row.name,
            "addresses": [
                {"address": address.ip, "until": address.until}
                for address in sorted(row.addresses, key=lambda address: db_resolved.parsed(address.ip))
            ],
            "policies": policies[row.name],
        }
        for row in rows
    ]


def record(session: Session, row: tables.DnsRecord) -> Json:
    return _record(row, db_records.settings(session).domain)


def records(session: Session, rows: Sequence[tables.DnsRecord]) -> list[Json]:
    domain = db_records.settings(session).domain
    return [_record(row, domain) for row in rows]


def _record(row: tables.DnsRecord, domain: str) -> Json:
    below = ".".join(reversed(row.scope.split("/")))
    return {
        "scope": row.scope,
        "name": row.name,
        "full_name": f"{row.name}.{below}.{domain}",
        "addresses": row.addresses,
        "version": row.version,
        "created_at": row.created_at,
    }


def token(row: tables.Token) -> Json:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "tenant": row.tenant.name if row.tenant else None,
        "user": row.user.name if row.user else None,
        "host": row.host.name if row.host else None,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
    }


def user(session: Session, row: tables.User) -> Json:
    grants = db_bindings.grants_of(session, row.id)
    return {
        "name": row.name,
        "has_password": bool(row.password),
        "role": grants.cluster,
        "tenants": {name: own.role for name, own in sorted(grants.tenants.items())},
        "created_at": row.created_at,
    }


def users(session: Session, rows: Sequence[tables.User]) -> list[Json]:
    return [user(session, row) for row in rows]


def group(row: tables.Group) -> Json:
    return {"name": row.name, "members": [member.name for member in row.members], "created_at": row.created_at}


def groups(session: Session, rows: Sequence[tables.Group]) -> list[Json]:
    return [group(row) for row in rows]


def binding(row: tables.RoleBinding) -> Json:
    return {
        "id": row.id,
        "role": row.role,
        "user": row.user.name if row.user else None,
        "group": row.group.name if row.group else None,
        "tenant": row.tenant.name if row.tenant else None,
        "created_at": row.created_at,
    }


def bindings(session: Session, rows: Sequence[tables.RoleBinding]) -> list[Json]:
    return [binding(row) for row in rows]


def change(row: changes.Change) -> Json:
    return {"revision": row.revision, "noun": row.noun, "id": row.id, "op": row.op}
