"""The tables, one module per noun. Decides shapes and keys; the rules live in the modules that write them."""

from db.tables.accounts import (
    Group,
    GroupMember,
    KeptReply,
    LoginFailure,
    LoginSession,
    OidcIdentity,
    OidcLogin,
    RoleBinding,
    Setting,
    Token,
    User,
)
from db.tables.audit import AuditHead, AuditRow
from db.tables.base import Base, utcnow
from db.tables.dns import DnsRecord
from db.tables.endpoints import Address, AllowedAddress, Endpoint, EndpointStatus, port_name
from db.tables.hosts import DATAPATH_PREFIX, Controller, Host, HostStatus
from db.tables.log import ChangeRow, Revision
from db.tables.names import ResolvedAddress, ResolvedName
from db.tables.policies import Denial, Policy, RuleCounter
from db.tables.pools import AddressPool, Claim, Pool, Shared
from db.tables.publications import Publication
from db.tables.tenancy import Block, Network, Peering, Physical, Reservation, Subnet, Tenant
from db.tables.traces import Trace
from db.tables.traffic import HostTraffic

__all__ = [
    "DATAPATH_PREFIX",
    "Address",
    "AddressPool",
    "AllowedAddress",
    "AuditHead",
    "AuditRow",
    "Base",
    "Block",
    "ChangeRow",
    "Claim",
    "Controller",
    "Denial",
    "DnsRecord",
    "Endpoint",
    "EndpointStatus",
    "Group",
    "GroupMember",
    "Host",
    "HostStatus",
    "HostTraffic",
    "KeptReply",
    "LoginFailure",
    "LoginSession",
    "Network",
    "OidcIdentity",
    "OidcLogin",
    "Peering",
    "Physical",
    "Policy",
    "Pool",
    "Publication",
    "Reservation",
    "ResolvedAddress",
    "ResolvedName",
    "Revision",
    "RoleBinding",
    "RuleCounter",
    "Setting",
    "Shared",
    "Subnet",
    "Tenant",
    "Token",
    "Trace",
    "User",
    "port_name",
    "utcnow",
]
