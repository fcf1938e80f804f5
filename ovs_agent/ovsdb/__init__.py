"""Open vSwitch's database: one thread that owns the connection, and everybody else's way to ask it."""

from ovs_agent.ovsdb.database import Database, OvsdbFault

__all__ = ["Database", "OvsdbFault"]
