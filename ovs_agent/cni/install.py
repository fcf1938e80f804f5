"""Putting the CNI plugin where a container runtime looks for it.

It decides the names of the files. The plugin is a copy of the shim that knows the agent's socket; it needs Perl, and no
other file of Warren's. The configuration is a template, which the agent makes appear while it is ready.
"""

from __future__ import annotations

import json
from pathlib import Path

from ovs_agent.cni.conflist import TEMPLATE, write
from ovs_agent.cni.spec import PLUGIN, SUPPORTED

SHIM = Path(__file__).with_name("shim.pl")
PERL = Path("/usr/bin/perl")
KNOWN = "/run/warren/cni.sock"
CAPABILITIES = ("ips", "mac", "aliases", "dns", "bandwidth", "portMappings")


def install(
    bin_dir: Path, conf_dir: Path, socket: Path, network: str | None, name: str = PLUGIN, static: bool = False
) -> tuple[Path, Path]:
    """Write the plugin and a configuration for it; answers where. A configuration that is there already stays. The
    runtime calls its network `name`. `static`: it is there always, and not the agent's business. Raises OSError."""
    if not PERL.exists():
        raise FileNotFoundError(f"There is no {PERL}, which the plugin is written for: install Debian's perl-base.")
    plugin = bin_dir / PLUGIN
    source = SHIM.read_text()
    assert source.count(f'"{KNOWN}"') == 1
    write(plugin, source.replace(f'"{KNOWN}"', _quoted(str(socket))), 0o755)
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


def _quoted(text: str) -> str:
    """For Perl, which reads nothing but these two in single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
