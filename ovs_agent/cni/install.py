"""Putting the CNI plugin where a container runtime looks for it.

It decides the names of the two files. The plugin is a copy of the shim that knows the agent's socket; it needs no
other file of Warren's.
"""

from __future__ import annotations

import json
from pathlib import Path

from ovs_agent.cni import shim
from ovs_agent.cni.spec import SUPPORTED

PLUGIN = "warren"
CONFIGURATION = "10-warren.conflist"


def install(bin_dir: Path, conf_dir: Path, socket: Path, network: str | None) -> tuple[Path, Path]:
    """Write the plugin and a configuration for it; answers where. A configuration that is there already stays."""
    plugin = bin_dir / PLUGIN
    source = Path(shim.__file__).read_text()
    known = f'SOCKET = "{shim.SOCKET}"'
    assert known in source
    _write(plugin, source.replace(known, f"SOCKET = {json.dumps(str(socket))}"), 0o755)
    configuration = conf_dir / CONFIGURATION
    if not configuration.exists():
        entry = {
            "type": PLUGIN,
            **({"network": network} if network else {}),
            "capabilities": {"ips": True, "mac": True, "aliases": True, "dns": True, "portMappings": True},
        }
        content = {"cniVersion": SUPPORTED[-2], "name": "warren", "plugins": [entry]}
        _write(configuration, json.dumps(content, indent=2) + "\n", 0o644)
    return plugin, configuration


def _write(path: Path, text: str, mode: int) -> None:
    """Runtimes read these files at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)
