"""A Podman of its own for each lab host: settings, images and containers in the host's folder, in its namespace.

Podman has no daemon: the command is the engine, and each container has a monitor, `conmon`. It runs with its CNI
backend in the machine's own mounts, so that the agent finds the namespaces it makes. What the lab's end must undo is
found by the containers' ids, whatever became of their monitors.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from client.rest import Problem, Rest
from lab import cgroups, image, netns
from lab import host as hosts
from lab.names import HostName, LabError
from lab.process import Process, environment, stop
from lab.server import warren

TENANT, NETWORK, SUBNET = "podman", "web", "10.31.0.0/24"
"""What a lab with Podman has from the beginning."""
PROGRAM = "/usr/bin/podman"
ELSEWHERE = (Path("/var/lib/cni/results"), Path("/run/runc"))
"""Where libcni and runc remember containers, by names with their id in them."""
_CONTAINERS = """\
[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins}", "/usr/lib/cni"]
network_config_dir = "{at}/net.d"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"
static_dir = "{at}/root/libpod"
tmp_dir = "{at}/tmp"
volume_path = "{at}/root/volumes"
[containers]
default_ulimits = ["nofile=8192:8192", "nproc=4096:4096"]
log_driver = "k8s-file"
"""
_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{at}/root"
runroot = "{at}/run"
"""


def folder(host: HostName) -> Path:
    return host.folder / "podman"


def conf_dir(host: HostName) -> Path:
    """Where its networks are."""
    return folder(host) / "net.d"


def start(host: HostName, lab_dir: Path, rest: Rest) -> None:
    """Make what is missing: settings, the lab's image, and the network that people find, the same on every host."""
    at = folder(host)
    at.mkdir(exist_ok=True)
    (at / "containers.conf").write_text(_CONTAINERS.format(at=at, plugins=hosts.bin_dir(host)))
    (at / "storage.conf").write_text(_STORAGE.format(at=at))
    network = {"name": f"{TENANT}/{NETWORK}", "subnets": [SUBNET]}
    for path, body in (("/tenants", {"name": TENANT}), ("/networks", network)):
        try:
            rest.post(path, body)
        except Problem as problem:
            if problem.status != 409:
                raise
    add_network(host, lab_dir, NETWORK, f"{TENANT}/{NETWORK}")
    if not run(host, lab_dir, "images", "--quiet", image.IMAGE).strip():
        run(host, lab_dir, "import", "--quiet", *image.CHANGES, str(image.path(lab_dir)), image.IMAGE)


def add_network(host: HostName, lab_dir: Path, name: str, network: str) -> None:
    """Podman's word `name` for a network of Warren's."""
    where = ("--bin-dir", str(hosts.bin_dir(host)), "--conf-dir", str(conf_dir(host)), "--socket", str(host.cni_socket))
    command = warren("agent", "install-cni", "--static", *where, "--name", name, "--network", network)
    netns.run(*command, env=environment(lab_dir))


def run(host: HostName, lab_dir: Path, *arguments: str) -> str:
    """What the podman command prints there."""
    with netns.inside(host.netns):
        return netns.run(PROGRAM, *arguments, env=environment(lab_dir, settings(host)))


def settings(host: HostName) -> dict[str, str]:
    """Environment for the podman command to be the host's."""
    at = folder(host)
    return {
        "CONTAINERS_CONF": str(at / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(at / "storage.conf"),
        "HOME": str(at),
    }


def sweep(places: list[Path]) -> bool:
    """End every container in these hosts' folders and undo what it left elsewhere. Answers whether there were any."""
    mine = [place / "podman" for place in places if (place / "podman").is_dir()]
    stop([one for at in mine for one in monitors(at)], kill=True)  # first: they would tidy up after a container's end
    stop([one for at in mine for one in _inside(at)], kill=True)
    found = False
    for at in mine:
        for bundle in (at / "root" / "overlay-containers").glob("?" * 64):
            found = True
            for space in _spaces(bundle / "userdata" / "config.json"):
                netns.delete(space)
            for remains in (one for place in ELSEWHERE for one in place.glob(f"*{bundle.name}*")):
                shutil.rmtree(remains) if remains.is_dir() else remains.unlink(missing_ok=True)
            for group in cgroups.find(f"libpod_parent/libpod-*{bundle.name}"):
                cgroups.remove(group)
        for mount in _mounts(at):
            with suppress(LabError):
                netns.run("umount", "--lazy", mount)
    return found


def monitors(at: Path) -> list[Process]:
    """Each container's own, and Podman's commands under way: they have little environment, but are told the folder."""
    found = _processes(lambda entry: f"{at}/".encode() in (entry / "cmdline").read_bytes())
    return [one for one in found if one.command in ("conmon", "podman")]


def _inside(at: Path) -> list[Process]:
    """The processes whose root is an image in the folder."""

    def is_inside(entry: Path) -> bool:
        roots = [line for line in (entry / "mountinfo").read_text().splitlines() if line.split()[4] == "/"]
        return any(f"{at}/" in line for line in roots)

    return _processes(is_inside)


def _processes(wanted: Callable[[Path], bool]) -> list[Process]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if wanted(entry) and (process := Process.of(int(entry.name))):
                found.append(process)
    return found


def _spaces(config: Path) -> list[str]:
    """Names of the network namespaces that Podman made for a container."""
    try:
        wanted = json.loads(config.read_text())["linux"]["namespaces"]
    except (OSError, ValueError, KeyError):
        return []
    paths = [Path(one["path"]) for one in wanted if one.get("type") == "network" and one.get("path")]
    return [path.name for path in paths if path.name.startswith("netns-")]


def _mounts(at: Path) -> Iterator[str]:
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    yield from sorted((place for place in places if place.startswith(f"{at}/")), reverse=True)
