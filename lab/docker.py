"""A Docker engine of its own for each lab host: real dockerd, with its folders, plugin directory and mounts apart.

A host is a network namespace; for Docker it needs a mount namespace as well, so that every host has its own
/run/docker/plugins. A sleeper holds it as long as the lab is up: an engine that starts again finds the mounts of
containers that ran on. Containers are found by their cgroup, which bears the lab's name, whatever became of the engine.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from client.rest import Problem, Rest
from lab import cgroups, image, netns, ovs
from lab.image import IMAGE
from lab.names import HostName
from lab.process import Daemon, Process, of_lab, stop

TENANT, NETWORK, SUBNET = "docker", "web", "10.30.0.0/24"
"""What a lab with Docker has from the beginning."""
RESOLVER = "169.254.53.53"
"""Warren's, in all networks."""
ENGINE = "/usr/sbin/dockerd"
STOP_PATIENCE = 40.0
"""Seconds: an engine gives its containers fifteen, and a plugin that is away as many for each call."""
_MOUNTS = """
set -e
mkdir -p "$1/cgroup"
mount --rbind /sys/fs/cgroup "$1/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$1/cgroup" /sys/fs/cgroup
umount -l "$1/cgroup"
for place in /run/docker /run/containerd; do mkdir -p "$place"; mount -t tmpfs tmpfs "$place"; done
mkdir -p /run/docker/plugins
mount --bind "$1/plugins" /run/docker/plugins
touch "$1/mounted"
exec sleep infinity
"""


def folder(host: HostName) -> Path:
    return host.folder / "docker"


def plugins(host: HostName) -> Path:
    """/run/docker/plugins of that host."""
    return folder(host) / "plugins"


def engine(host: HostName) -> Daemon:
    return Daemon(folder(host), "dockerd")


def socket(host: HostName) -> str:
    return f"unix://{folder(host)}/docker.sock"


def start(host: HostName, lab_dir: Path) -> None:
    """Start what does not run of the host's engine, with the image of the lab."""
    holder = _hold_mounts(host, lab_dir)
    runtime = _start_runtime(host, holder, lab_dir)
    daemon = engine(host)
    if daemon.process is None:
        for stale in ("dockerd.pid", "docker.sock"):
            (folder(host) / stale).unlink(missing_ok=True)
        arguments = [
            *(*_inside(holder), "dockerd", "-H", socket(host), "--containerd", str(runtime)),
            *("--data-root", f"{folder(host)}/data", "--exec-root", f"{folder(host)}/exec"),
            *("--pidfile", f"{folder(host)}/dockerd.pid", "--cgroup-parent", f"/{cgroup(host)}"),
            *("--dns", RESOLVER),
        ]
        with netns.inside(host.netns):
            daemon.start(arguments, lab_dir, env={"HOME": str(folder(host))})
        daemon.wait_until(lambda: _answers(host, lab_dir), f"dockerd on {host.name}", seconds=180)
    if not run(host, lab_dir, "images", "--quiet", IMAGE).strip():
        run(host, lab_dir, "import", *image.CHANGES, str(image.path(lab_dir)), IMAGE)


def first_network(host: HostName, lab_dir: Path, rest: Rest) -> None:
    """The network that people find, the same on every host."""
    try:
        rest.post("/tenants", {"name": TENANT, "labels": {"warren/engine-networks": "create"}})
    except Problem as problem:
        if problem.status != 409:
            raise
    if NETWORK not in run(host, lab_dir, "network", "ls", "--format", "{{.Name}}").split():
        drivers = ("--driver", "warren", "--ipam-driver", "warren")
        run(host, lab_dir, "network", "create", *drivers, "--subnet", SUBNET, "-o", f"network={NETWORK}", NETWORK)


def run(host: HostName, lab_dir: Path, *arguments: str) -> str:
    """What the docker command prints there."""
    return netns.run(program(), *arguments, env=settings(host, lab_dir))


def program() -> str:
    """Debian's, of the same release as the engine; a newer one may refuse what this engine can do."""
    return "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"


def settings(host: HostName, lab_dir: Path) -> dict[str, str]:
    """Environment for the docker command to find the host's engine, and nothing of the user's own."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    return {**inherited, "DOCKER_HOST": socket(host), "DOCKER_CONFIG": str(folder(host) / "config")}


def enter(host: HostName) -> list[str]:
    """The beginning of a command that runs as that host: with its network, and its mounts if it has some."""
    holder = _holder(host).process
    mounts = _inside(holder)[1:] if holder else []
    return ["nsenter", f"--net={netns.path(host.netns)}", *mounts]


def host_settings(host: HostName) -> dict[str, str]:
    return {**ovs.settings(host), "DOCKER_HOST": socket(host)}


def cgroup(host: HostName) -> str:
    return f"warren-{host.lab}-{host.name}"


def sweep(lab: str, lab_dir: Path) -> bool:
    """End every engine of the lab, and its containers, also those whose engine is gone. Answers whether there were
    any. The mounts go with the last process that sees them."""
    engines = [one for one in of_lab(lab_dir) if one.command.startswith(("dockerd", "containerd", "docker-proxy"))]
    stop(engines, kill=True)
    groups = cgroups.find(f"warren-{lab}-h*")
    inside = {pid for group in groups for path in group.rglob("cgroup.procs") for pid in _pids(path)}
    stop([process for pid in inside if (process := Process.of(pid))], kill=True)
    for group in groups:
        cgroups.remove(group)
    return bool(engines or groups)


def _hold_mounts(host: HostName, lab_dir: Path) -> Process:
    holder = _holder(host)
    if holder.process is None:
        plugins(host).mkdir(parents=True, exist_ok=True)
        ready = folder(host) / "mounted"
        ready.unlink(missing_ok=True)
        with netns.inside(host.netns):
            unshare = ("unshare", "--mount", "--propagation", "private")
            holder.start([*unshare, "sh", "-c", _MOUNTS, "_", str(folder(host))], lab_dir)
        holder.wait_until(ready.exists, f"The mounts of {host.name}")
    process = holder.process
    assert process is not None
    return process


def _start_runtime(host: HostName, holder: Process, lab_dir: Path) -> Path:
    """A containerd beside dockerd, as Debian runs them: it and the containers outlive a dockerd that is killed."""
    daemon, at = Daemon(folder(host), "containerd"), folder(host) / "containerd"
    address = at / "containerd.sock"
    if daemon.process is None:
        at.mkdir(exist_ok=True)
        address.unlink(missing_ok=True)
        config = at / "config.toml"
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        where = ("--address", str(address), "--root", str(at / "root"), "--state", str(at / "state"))
        with netns.inside(host.netns):
            daemon.start([*_inside(holder), "containerd", "--config", str(config), *where], lab_dir)
        daemon.wait_until(address.exists, f"containerd on {host.name}")
    return address


def _inside(holder: Process) -> list[str]:
    return ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"]


def _holder(host: HostName) -> Daemon:
    return Daemon(folder(host), "mounts")


def _answers(host: HostName, lab_dir: Path) -> bool:
    asked = [program(), "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(asked, capture_output=True, env=settings(host, lab_dir)).returncode == 0


def _pids(path: Path) -> list[int]:
    try:
        return [int(line) for line in path.read_text().split()]
    except OSError:
        return []
