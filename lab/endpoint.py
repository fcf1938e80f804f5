"""Endpoints of a lab: a namespace each, attached by calling the installed CNI plugin as a container runtime does.

What libcni does is done here in small: the configuration from the host's folder, the environment, the result kept for
the removal, and a DEL after an ADD that failed. The lab adds no other way into the network.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from lab import host as hosts
from lab import netns, responder, state
from lab.names import HostName, LabError, check_endpoint, endpoint_netns
from lab.process import environment
from lab.state import Placed

IFNAME = "eth0"
PATIENCE = 120.0
"""Seconds; container runtimes give a plugin two minutes."""


class Wanted(NamedTuple):
    """What `warren lab run` asks for. `ports` are `name=80/tcp`."""

    name: str
    network: str
    labels: Mapping[str, str] = {}
    addresses: Sequence[str] = ()
    ports: Sequence[Mapping[str, Any]] = ()
    mac: str | None = None
    aliases: Sequence[str] = ()


def run(lab: str, host: HostName, wanted: Wanted) -> Placed:
    """Make the endpoint, or leave nothing behind."""
    tenant, slash, _ = wanted.network.partition("/")
    if not slash:
        raise LabError(f"'{wanted.network}' is not TENANT/NETWORK; say for example acme/{wanted.network}.")
    name = check_endpoint(wanted.name)
    space = endpoint_netns(host, name)
    config = _config(host, wanted)
    args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={tenant};K8S_POD_NAME={name}"
    placed = Placed(name, tenant, wanted.network, host.name, space, secrets.token_hex(16), config=config, args=args)
    state.place(lab, placed)
    lab_dir = state.folder(lab)
    try:
        netns.create(space)
        responder.tell(lab_dir, "add", name, space)
        placed = _result(placed, call("ADD", host, placed, lab_dir))
        state.update(lab, placed)
    except BaseException:
        with suppress(LabError):
            call("DEL", host, placed, lab_dir)
        _forget(lab, placed)
        raise
    return placed


def remove(lab: str, host: HostName, placed: Placed) -> None:
    """Detach it and forget it. When the plugin refuses, everything stays, so that it can be tried again."""
    call("DEL", host, placed, state.folder(lab))
    _forget(lab, placed)


def call(command: str, host: HostName, placed: Placed, lab_dir: Path) -> dict[str, Any]:
    """One call of the plugin in the host's namespace. An error of the plugin is raised in its own words."""
    config = placed.config
    if command != "ADD" and placed.result:
        config = {**config, "prevResult": placed.result}
    parameters = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": placed.container_id,
        "CNI_NETNS": str(netns.path(placed.netns)),
        "CNI_IFNAME": IFNAME,
        "CNI_ARGS": placed.args,
        "CNI_PATH": str(hosts.bin_dir(host)),
    }
    with netns.inside(host.netns):
        try:
            done = subprocess.run(
                [hosts.plugin(host)],
                input=json.dumps(config),
                capture_output=True,
                text=True,
                env=environment(lab_dir, parameters),
                timeout=PATIENCE,
            )
        except (OSError, subprocess.TimeoutExpired) as fault:
            raise LabError(f"The CNI plugin on {host.name} could not be asked for {placed.name}: {fault}.") from fault
    if done.returncode == 0:
        return json.loads(done.stdout) if done.stdout.strip() else {}
    try:
        said = json.loads(done.stdout)
        text = said["msg"] + (f" ({said['details']})" if said.get("details") else "")
        raise LabError(f"{placed.name} on {host.name}: {text} [CNI code {said['code']}]")
    except (ValueError, KeyError):
        raise LabError(
            f"The CNI plugin on {host.name} failed without saying why: {(done.stderr or done.stdout).strip()[-300:]}"
        ) from None


def resolv_conf(placed: Placed) -> str:
    """What a runtime makes of the plugin's answer: resolv.conf(5)."""
    dns = (placed.result or {}).get("dns", {})
    lines = [f"nameserver {address}" for address in dns.get("nameservers", [])]
    for word in ("search", "options"):
        if values := dns.get(word):
            lines.append(f"{word} {' '.join(values)}")
    return "".join(f"{line}\n" for line in lines)


def _forget(lab: str, placed: Placed) -> None:
    with suppress(LabError):  # a responder that is gone answers for nobody
        responder.tell(state.folder(lab), "remove", placed.name)
    netns.delete(placed.netns)
    state.forget(lab, placed.name)


def _config(host: HostName, wanted: Wanted) -> dict[str, Any]:
    """The first configuration of the host's folder, with what this endpoint asks for."""
    try:
        source = min(hosts.conf_dir(host).glob("*.conflist"))
    except ValueError:
        raise LabError(f"Host {host.name} has no CNI configuration; `warren lab up` installs it.") from None
    conflist = json.loads(source.read_text())
    config = {
        **conflist["plugins"][0],
        "cniVersion": conflist["cniVersion"],
        "name": conflist["name"],
        "network": wanted.network,
    }
    runtime: dict[str, Any] = {}
    if wanted.addresses:
        runtime["ips"] = list(wanted.addresses)
    if wanted.aliases:
        runtime["aliases"] = list(wanted.aliases)
    if wanted.mac:
        runtime["mac"] = wanted.mac
    if wanted.labels:
        config["args"] = {"cni": {"labels": [{"key": key, "value": value} for key, value in wanted.labels.items()]}}
    if wanted.ports:
        config["ports"] = list(wanted.ports)
    return {**config, "runtimeConfig": runtime} if runtime else config


def _result(placed: Placed, result: dict[str, Any]) -> Placed:
    inner = [one["mac"] for one in result.get("interfaces", []) if one.get("sandbox") and one.get("mac")]
    return placed._replace(
        addresses=tuple(one["address"] for one in result.get("ips", [])), mac=inner[0] if inner else "", result=result
    )
