"""One host of a lab: a namespace, a switch of its own and the agent, which is the same program as on a real host.

The lab gives the agent a namespace, folders and the user-space data path; what the agent makes of them it does not
know.
"""

from __future__ import annotations

from pathlib import Path

from client.rest import Problem, Rest
from lab import docker, fabric, netns, ovs
from lab.names import FABRIC_ADDRESS, WEB_PORT, HostName
from lab.process import Daemon, environment
from lab.server import warren

SEGMENT = "lan"
"""What the lab's underlay is called as a physical segment."""


def machine(host: HostName, lab_dir: Path) -> None:
    """Namespace, cable and switch: what a data centre delivers."""
    netns.create(host.netns)
    fabric.cable(host)
    ovs.start(host, lab_dir)


def agent(host: HostName) -> Daemon:
    return Daemon(host.folder, "agent")


def register(host: HostName, rest: Rest) -> str | None:
    """Tell the API of the host. A token with which its agent may enrol; None when it did already."""
    try:
        return str(rest.post("/hosts", {"name": host.name, "address": host.address}).body["enrol_token"])
    except Problem as problem:
        if problem.status != 409:
            raise
    if rest.get(f"/hosts/{host.name}").body["state"] == "new":
        return str(rest.post(f"/hosts/{host.name}/token").body["enrol_token"])
    return None


def start_agent(host: HostName, lab_dir: Path, token: str | None = None) -> None:
    """Start the agent if it does not run; the first time it needs a token to enrol with."""
    daemon = agent(host)
    if daemon.process:
        return
    host.cni_socket.unlink(missing_ok=True)
    arguments = [
        *("agent", "--api", f"http://{FABRIC_ADDRESS}:{WEB_PORT}", "--address", host.address),
        *("--state-dir", str(host.folder / "agent"), "--run-dir", str(host.cni_socket.parent)),
        *("--ovsdb", host.ovsdb, "--datapath", "netdev", "--physical", f"{SEGMENT}={ovs.BRIDGE}"),
        *("--resolv-conf", str(resolv_conf(host)), "--cni-conf-dir", str(conf_dir(host))),
        *("--docker-plugins", str(docker.plugins(host)), "--docker-tenant", docker.TENANT),
        *("--docker-socket", docker.socket(host).removeprefix("unix://")),
    ]
    # A host of the lab has no way out, so it knows nobody to ask for others' names until a nameserver is written there.
    resolv_conf(host).touch()
    # Not as an argument: everybody on the machine may read those.
    env = {**ovs.settings(host), **({"WARREN_ENROL_TOKEN": token} if token else {})}
    with netns.inside(host.netns):
        daemon.start(warren(*arguments), lab_dir, env=env)


def wait_for_agent(host: HostName) -> None:
    agent(host).wait_until(host.cni_socket.exists, f"The agent on {host.name}")


def install_cni(host: HostName, lab_dir: Path) -> None:
    """The plugin and its configuration, as an administrator installs them on a host."""
    if plugin(host).exists():
        return
    where = ("--bin-dir", str(bin_dir(host)), "--conf-dir", str(conf_dir(host)), "--socket", str(host.cni_socket))
    # The lab's own calls are to come also while something is away that an agent would take its configuration back for.
    netns.run(*warren("agent", "install-cni", "--static", *where), env=environment(lab_dir))


def bin_dir(host: HostName) -> Path:
    return host.folder / "cni" / "bin"


def conf_dir(host: HostName) -> Path:
    return host.folder / "cni" / "net.d"


def resolv_conf(host: HostName) -> Path:
    return host.folder / "resolv.conf"


def plugin(host: HostName) -> Path:
    return bin_dir(host) / "warren"
