"""The part of Open vSwitch's database that matters here, as the plan's values.

It decides which tables and columns are watched and how rows read. It refuses to know about threads, waiting and
retries: the one thread that owns the connection calls it.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ovs.poller tries eventlet, which complains about itself where it is installed
    from ovs.db import idl as ovsidl

from ovs_agent.plan import Bridge, Controller, Port, Ssl

DATABASE = "Open_vSwitch"

COLUMNS: Mapping[str, list[str]] = {
    "Open_vSwitch": ["bridges", "next_cfg", "cur_cfg", "ssl"],
    "Bridge": ["name", "ports", "controller", "datapath_type", "fail_mode", "protocols", "other_config"],
    "Port": ["name", "interfaces"],
    "Interface": ["name", "type", "options", "external_ids", "mac", "ofport", "ofport_request", "error"],
    "SSL": ["private_key", "certificate", "ca_cert", "bootstrap_ca_cert"],
    "Controller": ["target", "connection_mode", "inactivity_probe", "max_backoff", "is_connected"],
}
"""Only what is read or written: statistics, which change every few seconds, are never sent to us."""

NAMED = ("Port", "Interface")


class Replica(ovsidl.Idl):  # type: ignore[misc]
    """The library's replica, with ports and interfaces by name, and interfaces' values kept until the row changes.

    Reading a column of a row costs some 10 us, and most reads find what the last one found.
    """

    def __init__(self, remote: str, schema: Any) -> None:
        helper = ovsidl.SchemaHelper(schema_json=schema)
        for table, columns in COLUMNS.items():
            helper.register_columns(table, columns)
        super().__init__(remote, helper)
        self._by_name: dict[tuple[str, str], Any] = {}
        self._values: dict[uuid.UUID, Port] = {}

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        table = row._table.name
        if table not in NAMED:
            return
        self._values.pop(row.uuid, None)
        key = table, row.name
        if event != ovsidl.ROW_DELETE:
            self._by_name[key] = row
        elif self._by_name.get(key) is row:  # else a new row has taken the name already
            del self._by_name[key]

    @property
    def ready(self) -> bool:
        """Connected, and everything received."""
        return self.state == self.IDL_S_MONITORING and bool(self._session.is_connected())

    def root(self) -> Any:
        return next(iter(self.tables["Open_vSwitch"].rows.values()))

    def bridge(self, name: str) -> Any | None:
        rows: Any = self.tables["Bridge"].rows.values()
        return next((row for row in rows if row.name == name), None)

    def named(self, table: str, name: str) -> Any | None:
        """A row of one of the tables NAMED."""
        row = self._by_name.get((table, name))
        return row if row is not None and self.tables[table].rows.get(row.uuid) is row else None

    def interface(self, name: str) -> Any | None:
        return self.named("Interface", name)

    def port(self, name: str) -> Port | None:
        row = self.interface(name)
        return None if row is None else self._port(row)

    def ports(self, bridge: Any) -> Mapping[str, Port]:
        found = (self._port(interface) for port in bridge.ports for interface in port.interfaces)
        return MappingProxyType({port.name: port for port in found})

    def others(self, bridge: str) -> Mapping[str, Mapping[str, Port]]:
        """The ports of all other bridges."""
        rows: Any = self.tables["Bridge"].rows.values()
        return MappingProxyType({row.name: self.ports(row) for row in rows if row.name != bridge})

    def _port(self, row: Any) -> Port:
        value = self._values.get(row.uuid)
        if value is None:
            value = self._values[row.uuid] = Port(
                name=row.name,
                ofport=_one(row.ofport_request),
                type=row.type,
                mac=_one(row.mac),
                options=MappingProxyType(dict(row.options)),
                external_ids=MappingProxyType(dict(row.external_ids)),
                actual=_one(row.ofport),
                error=_one(row.error),
            )
        return value


def read_bridge(row: Any) -> Bridge:
    return Bridge(
        name=row.name,
        datapath_type=row.datapath_type or "system",
        datapath_id=row.other_config.get("datapath-id", ""),
        fail_mode=_one(row.fail_mode) or "standalone",
        protocols=tuple(sorted(row.protocols)),
        in_band=row.other_config.get("disable-in-band") != "true",
    )


def read_controllers(row: Any) -> tuple[Controller, ...]:
    return tuple(
        Controller(
            target=one.target,
            inactivity_probe_ms=_one(one.inactivity_probe) or 0,
            max_backoff_ms=_one(one.max_backoff) or 0,
            connection_mode=_one(one.connection_mode) or "",
        )
        for one in row.controller
    )


def read_ssl(root: Any) -> Ssl | None:
    row = _one(root.ssl)
    return None if row is None else Ssl(row.private_key, row.certificate, row.ca_cert)


def read_connected(row: Any) -> frozenset[str]:
    """The targets of the controllers that the bridge says it is connected to."""
    return frozenset(one.target for one in row.controller if one.is_connected)


def _one(column: Any) -> Any:
    """The library shows an optional column as a list of none or one."""
    return column[0] if column else None
