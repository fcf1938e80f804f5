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

CAPABILITIES = ("ips", "mac", "aliases", "dns", "bandwidth", "portMappings")


def install(
    bin_dir: Path, conf_dir: Path, socket: Path, network: str | None, name: str = PLUGIN, static: bool = False
) -> tuple[Path, Path]:
    """Write the plugin and a configuration for it; answers where. A configuration that is there already stays. The
    runtime calls its network `name`. `static`: it is there always, and not the agent's business."""
    plugin = bin_dir / PLUGIN
    source = Path(shim.__file__).read_text()
    known = f'SOCKET = "{shim.SOCKET}"'
    assert known in source
    write(plugin, source.replace(known, f"SOCKET = {json.dumps(str(socket))}"), 0o755)
    configuration = conf_dir / f"10-{name}.conflist{'' if static else TEMPLATE}"
    if not configuration.exists():
        entry = {
            "type": PLUGIN,
            **({"network": network} if network else {}),
            "capabilities": dict.fromkeys(CAPABILITIES, True),
        }
        content = {"cniVersion": SUPPORTED[-2], "name": name, "plugins": [entry]}
        write(configuration, json.dumps(content, indent=2) + "\n", 0o644)
    return plugin, configuration
