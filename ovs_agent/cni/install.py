"""Putting the CNI plugin where a container runtime looks for it.

It decides the names of the files. The plugin is a copy of the shim that knows the agent's socket; it needs no other
file of Warren's. The configuration is a template, which the agent makes appear while it is ready.
"""

from __future__ import annotations

import json
from pathlib import Path

from ovs_agent.cni import shim
from ovs_agent.cni.conflist import TEMPLATE, write
from ovs_agent.cni.spec import PLUGIN, SUPPORTED

CONFIGURATION = "10-warren.conflist"
CAPABILITIES = ("ips", "mac", "aliases", "dns", "bandwidth")


def install(
    bin_dir: Path, conf_dir: Path, socket: Path, network: str | None, static: bool = False
) -> tuple[Path, Path]:
    """Write the plugin and a configuration for it; answers where. A configuration that is there already stays.
    `static`: the configuration itself, there always, for runtimes that need it to remove a container as well."""
    plugin = bin_dir / PLUGIN
    source = Path(shim.__file__).read_text()
    known = f'SOCKET = "{shim.SOCKET}"'
    assert known in source
    write(plugin, source.replace(known, f"SOCKET = {json.dumps(str(socket))}"), 0o755)
    configuration = conf_dir / CONFIGURATION
    if not static:
        configuration = configuration.with_name(CONFIGURATION + TEMPLATE)
    if not configuration.exists():
        write(configuration, text("warren", network), 0o644)
    return plugin, configuration


def text(name: str, network: str | None) -> str:
    """A configuration list with Warren alone."""
    entry = {
        "type": PLUGIN,
        **({"network": network} if network else {}),
        "capabilities": dict.fromkeys(CAPABILITIES, True),
    }
    return json.dumps({"cniVersion": SUPPORTED[-2], "name": name, "plugins": [entry]}, indent=2) + "\n"
