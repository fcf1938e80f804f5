"""The tables, one module per noun. Decides shapes and keys; the rules live in the modules that write them."""

from db.tables.accounts import (
    Group,
    GroupMember,
    KeptReply,
    LoginFailure,
    LoginSession,
    RoleBinding,
    Setting,
    Token,
    User,
)
from db.tables.audit import AuditHead, AuditRow
from db.tables.base import Base, utcnow
from db.tables.endpoints import Address, Endpoint, EndpointStatus, port_name
from db.tables.hosts import DATAPATH_PREFIX, Controller, Host, HostStatus
from db.tables.log import ChangeRow, Revision
from db.tables.names import ResolvedAddress, ResolvedName
from db.tables.policies import Denial, Policy, RuleCounter
from db.tables.pools import Claim, Pool, Shared
from db.tables.tenancy import Network, Peering, Subnet, Tenant
from db.tables.traces import Trace

__all__ = [
    "DATAPATH_PREFIX",
    "Address",
    "AuditHead",
    "AuditRow",
    "Base",
    "ChangeRow",
    "Claim",
    "Controller",
    "Denial",
    "Endpoint",
    "EndpointStatus",
    "Group",
    "GroupMember",
    "Host",
    "HostStatus",
    "KeptReply",
    "LoginFailure",
    "LoginSession",
    "Network",
    "Peering",
    "Policy",
    "Pool",
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
