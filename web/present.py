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
from db import bindings as db_bindings
from db import hosts as db_hosts
from db import isolation as db_isolation
from db import networks as db_networks
from db import resolved as db_resolved
from db import tables
from db.counters import RuleCount
from db.labels import with_name
from db.wanted import WantedEndpoint

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
    default_mtu = db_networks.default_mtu(session)
    return [_network(row, default_mtu) for row in rows]


def network(session: Session, row: tables.Network) -> Json:
    return _network(row, db_networks.default_mtu(session))


def _network(row: tables.Network, default_mtu: int) -> Json:
    return {
        "name": row.qualified_name,
        "tenant": row.tenant.name,
        "vni": row.vni,
        "zone": row.zone,
        "subnets": [
            {
                "cidr": subnet.cidr,
                "gateway": subnet.gateway,
                "size": db_networks.size(subnet),
                "used": subnet.used,
                "carved": subnet.block is not None,
            }
            for subnet in row.subnets
        ],
        "private": row.private,
        "isolated": row.isolated,
        "mtu": row.mtu or default_mtu,
        "own_mtu": row.mtu,
        "labels": row.labels,
        "endpoints": row.endpoint_count,
        "version": row.version,
        "created_at": row.created_at,
    }


def endpoint(row: tables.Endpoint) -> Json:
    return {
        "name": row.qualified_name,
        "tenant": row.tenant.name,
        "network": row.network.qualified_name,
        "host": row.host.name,
        "mac": row.mac,
        "addresses": [str(address) for address in row.addresses],
        "labels": row.labels,
        "ports": row.ports,
        "state": row.state,
        "ofport": row.ofport,
        "container_id": row.container_id,
        "ifname": row.ifname,
        "port_name": row.port_name,
        "version": row.version,
        "created_at": row.created_at,
    }


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
        "agent": status.agent_report,
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


def wanted_endpoint(found: WantedEndpoint) -> Json:
    return found._asdict()


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


def change(row: tables.ChangeRow) -> Json:
    return {"revision": row.revision, "noun": row.noun, "id": row.id, "op": row.op}
