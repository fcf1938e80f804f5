"""What each step of a plan writes into Open vSwitch's database.

It decides rows and columns. It refuses to know when a transaction is sent, and whether it succeeded.
"""

from __future__ import annotations

from typing import Any

from ovs_agent.ovsdb.replica import Replica
from ovs_agent.plan import Bridge, Controller, DropPort, Port, PutPort, SetBridge, SetControllers, SetSsl, Ssl
from ovs_agent.segments import AddBridge

DatabaseStep = SetBridge | AddBridge | SetSsl | SetControllers | PutPort | DropPort


class Refused(Exception):  # noqa: N818
    """A step that cannot be written; the text says why and what to do."""


def write(step: DatabaseStep, replica: Replica, txn: Any) -> None:
    """Called between the making and the sending of transaction `txn`."""
    match step:
        case SetBridge(bridge):
            _set_bridge(bridge, replica, txn)
        case AddBridge(name, datapath_type, interface):
            _add_bridge(name, datapath_type, interface, replica, txn)
        case SetSsl(ssl):
            _set_ssl(ssl, replica, txn)
        case SetControllers(name, controllers):
            _set_controllers(_bridge(replica, name), controllers, replica, txn)
        case PutPort(name, port):
            _put_port(_bridge(replica, name), port, replica, txn)
        case DropPort(name, port):
            _drop_port(replica.bridge(name), replica.named("Port", port))


def _set_bridge(bridge: Bridge, replica: Replica, txn: Any) -> None:
    row = replica.bridge(bridge.name) or _new_bridge(bridge.name, replica, txn)
    row.datapath_type = bridge.datapath_type
    row.fail_mode = bridge.fail_mode
    row.protocols = list(bridge.protocols)
    row.other_config = {
        **row.other_config,
        "datapath-id": bridge.datapath_id,
        "disable-in-band": "false" if bridge.in_band else "true",
    }


def _add_bridge(name: str, datapath_type: str, interface: str, replica: Replica, txn: Any) -> None:
    row = replica.bridge(name) or _new_bridge(name, replica, txn)
    row.datapath_type = datapath_type
    _put_port(row, Port(interface, None), replica, txn)


def _new_bridge(name: str, replica: Replica, txn: Any) -> Any:
    row = txn.insert(replica.tables["Bridge"])
    row.name = name
    row.other_config = {}
    # Every bridge has a port of its own name, the kernel's way into it.
    _add_port(row, Port(name, None, "internal"), replica, txn)
    replica.root().addvalue("bridges", row)
    return row


def _set_ssl(ssl: Ssl, replica: Replica, txn: Any) -> None:
    """A new row each time: the switch looks at the files again."""
    row = txn.insert(replica.tables["SSL"])
    row.private_key, row.certificate, row.ca_cert = ssl
    row.bootstrap_ca_cert = False
    replica.root().ssl = [row]


def _set_controllers(bridge: Any, controllers: tuple[Controller, ...], replica: Replica, txn: Any) -> None:
    """Rows that stay keep their identity, so their connections stay open."""
    rows = {row.target: row for row in replica.tables["Controller"].rows.values() if row in _controllers(bridge)}
    for controller in controllers:
        row = rows.get(controller.target)
        if row is None:
            row = rows[controller.target] = txn.insert(replica.tables["Controller"])
            row.target = controller.target
        row.inactivity_probe = controller.inactivity_probe_ms
        row.max_backoff = controller.max_backoff_ms
        row.connection_mode = controller.connection_mode
    bridge.controller = [rows[controller.target] for controller in controllers]


def _put_port(bridge: Any, port: Port, replica: Replica, txn: Any) -> None:
    interface = replica.interface(port.name)
    if interface is None:
        _add_port(bridge, port, replica, txn)
        return
    if bridge._data is None or not any(interface in row.interfaces for row in bridge.ports):
        raise Refused(f"Port {port.name} is on another bridge of this Open vSwitch; remove it from there.")
    _write_interface(interface, port, interface.options, interface.external_ids)


def _add_port(bridge: Any, port: Port, replica: Replica, txn: Any) -> None:
    interface = txn.insert(replica.tables["Interface"])
    interface.name = port.name
    _write_interface(interface, port, {}, {})
    row = txn.insert(replica.tables["Port"])
    row.name = port.name
    row.interfaces = [interface]
    bridge.addvalue("ports", row)


def _write_interface(interface: Any, port: Port, options: dict[str, str], external_ids: dict[str, str]) -> None:
    interface.type = port.type
    if port.ofport is not None:
        interface.ofport_request = port.ofport
    if port.mac is not None:
        interface.mac = port.mac
    if port.options:
        interface.options = {**options, **port.options}
    if port.external_ids:
        interface.external_ids = {**external_ids, **port.external_ids}


def _drop_port(bridge: Any | None, port: Any | None) -> None:
    """The database removes rows of ports and interfaces by itself once nothing refers to them."""
    if bridge is not None and port is not None:
        bridge.delvalue("ports", port)


def _bridge(replica: Replica, name: str) -> Any:
    row = replica.bridge(name)
    if row is None:
        raise Refused(f"The bridge {name} does not exist; the agent makes it as soon as the API has answered once.")
    return row


def _controllers(bridge: Any) -> list[Any]:
    return [] if bridge._data is None else bridge.controller
