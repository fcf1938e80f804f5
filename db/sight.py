"""What is seen of the database by somebody who may look at some tenants only: every read is narrowed to these.

Decides which tables belong to tenants. A read that must know everything (whose answer does not tell it) asks for that.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import event, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from db.tables import (
    AllowedAddress,
    Block,
    DnsRecord,
    Endpoint,
    Network,
    Policy,
    Publication,
    Reservation,
    RoleBinding,
    Subnet,
    Tenant,
    Token,
)

Sight = Mapping[str, int]
"""The tenants that somebody sees: number by name."""

OF_TENANTS = (Network, Endpoint, Policy, DnsRecord, RoleBinding, Token, Publication)
OF_NETWORKS = (Subnet, AllowedAddress)
OF_SUBNETS = (Reservation, Block)


def narrow(session: Session, sight: Sight | None) -> None:
    """Every SELECT of `session` finds what is in these tenants only; None: everything."""
    if sight is None:
        return
    ids = tuple(sight.values())
    options = [with_loader_criteria(Tenant, Tenant.id.in_(ids))]
    options += [with_loader_criteria(table, table.tenant_id.in_(ids)) for table in OF_TENANTS]
    # Of the tables themselves: a narrowed entity in here would be narrowed by this once more, without end.
    network, subnet = Network.__table__.c, Subnet.__table__.c
    networks = select(network.id).where(network.tenant_id.in_(ids))
    subnets = select(subnet.id).where(subnet.network_id.in_(networks))
    options += [with_loader_criteria(table, table.network_id.in_(networks)) for table in OF_NETWORKS]
    options += [with_loader_criteria(table, table.subnet_id.in_(subnets)) for table in OF_SUBNETS]

    @event.listens_for(session, "do_orm_execute")
    def only(state: ORMExecuteState) -> None:
        if state.is_select and not state.is_column_load:
            state.statement = state.statement.options(*options)
