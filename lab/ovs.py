"""A host's own Open vSwitch: an ovsdb-server and an ovs-vswitchd in its namespace, with the user-space data path.

User-space tunnels leave through a bridge that holds the underlay address: `br-phy` has the host's NIC and its
address. Everything above it (the integration bridge, tunnels, controllers) is the agent's business, not ours.
"""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path

from lab import fabric, netns
from lab.names import NICE, UNDERLAY_PREFIX, UNDERLAY_PREFIX6, HostName, LabError
from lab.process import Daemon, Process, environment

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
BRIDGE = "br-phy"
QUIET = ("-vconsole:off", "-vsyslog:off", "-vfile:info")


def settings(host: HostName) -> dict[str, str]:
    """Environment for Open vSwitch's tools (`ovs-vsctl`, `ovs-ofctl`, `ovs-appctl`) to find this host's switch."""
    folder = str(host.ovs)
    return {"OVS_RUNDIR": folder, "OVS_LOGDIR": folder, "OVS_DBDIR": folder, "OVS_SYSCONFDIR": folder}


def daemons(host: HostName) -> tuple[Daemon, Daemon]:
    return Daemon(host.ovs, "ovsdb-server"), Daemon(host.ovs, "ovs-vswitchd")


def start(host: HostName, lab_dir: Path) -> None:
    """Start what does not run. Returns when the switch has applied its configuration."""
    database, switch = daemons(host)
    if database.process is None:
        _start_database(host, database, lab_dir)
    if switch.process is None:
        _start_switch(host, switch, lab_dir)


def stop(host: HostName, kill: bool = False) -> None:
    """End the switch alone: its database stays, as on a host where `openvswitch-switch` restarts."""
    daemons(host)[1].stop(kill=kill)


def _start_database(host: HostName, daemon: Daemon, lab_dir: Path) -> None:
    host.ovs.mkdir(parents=True, exist_ok=True)
    conf = host.ovs / "conf.db"
    if not conf.exists():
        if not SCHEMA.exists():
            raise LabError(f"{SCHEMA} is missing: install Debian's openvswitch-switch, or run `make up`.")
        fresh = conf.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        netns.run("ovsdb-tool", "create", str(fresh), str(SCHEMA))
        fresh.replace(conf)
    _forget(host, daemon)
    _background(host, daemon, ["ovsdb-server", str(conf), f"--remote=p{host.ovsdb}"], lab_dir)
    # One handler and one revalidator: twenty switches share this machine.
    netns.run(
        *("ovs-vsctl", f"--db={host.ovsdb}", "--no-wait", "--timeout=10", "init"),
        *("--", "set", "Open_vSwitch", ".", f"external_ids:system-id={host.name}"),
        *("other_config:n-revalidator-threads=1", "other_config:n-handler-threads=1"),
        *("--", "--may-exist", "add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev"),
        *("--", "--may-exist", "add-port", BRIDGE, fabric.NIC),
    )


def _start_switch(host: HostName, daemon: Daemon, lab_dir: Path) -> None:
    _forget(host, daemon)
    _background(host, daemon, ["ovs-vswitchd", host.ovsdb, "--disable-system-route"], lab_dir)
    # The devices of a switch that was killed stay behind with their addresses, and its successor takes them over.
    netns.batch(
        host.netns,
        [
            f"link set {BRIDGE} addrgenmode none up",
            f"addr replace {host.address}/{UNDERLAY_PREFIX} dev {BRIDGE}",
            f"addr replace {host.address6}/{UNDERLAY_PREFIX6} dev {BRIDGE} nodad",
        ],
    )
    # Left to itself the switch forgets the kernel's routes whenever an interface appears, reads them anew, and until
    # then takes the packets of its tunnels for the host's own. Routes that it is told it keeps.
    for route in (f"{host.address}/{UNDERLAY_PREFIX}", f"{host.address6}/{UNDERLAY_PREFIX6}"):
        _tell_route(host, str(ipaddress.ip_interface(route).network))


def _tell_route(host: HostName, network: str, seconds: float = 60.0) -> None:
    """The switch refuses a route until it has noticed the address of the bridge that it leads through."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            _appctl(host, "ovs/route/add", network, BRIDGE)
            return
        except LabError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _background(host: HostName, daemon: Daemon, argv: list[str], lab_dir: Path) -> None:
    """Both programs go to the background themselves, once they are ready: no polling."""
    pidfile = host.ovs / f"{daemon.name}.pid"
    with netns.inside(host.netns):
        try:
            netns.run(
                *(
                    "nice",
                    "-n",
                    str(NICE),
                    argv[0],
                    *argv[1:],
                    "--detach",
                    "--no-chdir",
                    f"--pidfile={pidfile}",
                    f"--log-file={daemon.log}",
                ),
                *QUIET,
                env=environment(lab_dir, settings(host)),
            )
        except LabError as fault:
            raise LabError(f"Open vSwitch on {host.name} did not start: {daemon.last_words()}") from fault
    process = Process.of(int(pidfile.read_text()))
    if process is None:
        raise LabError(f"{daemon.name} on {host.name} ended at once: {daemon.last_words()}")
    daemon.remember(process)


def _forget(host: HostName, daemon: Daemon) -> None:
    """What a killed process left behind: its control socket bears its pid, so nobody else will remove it."""
    for remains in (*host.ovs.glob(f"{daemon.name}.*.ctl"), host.ovs / f"{daemon.name}.pid"):
        remains.unlink(missing_ok=True)


def neighbours(host: HostName) -> set[str]:
    """Underlay addresses whose MAC the switch knows, so that it can send through a tunnel to them."""
    said = _appctl(host, "tnl/neigh/show")
    return {line.split()[0] for line in said.splitlines()[2:] if line.strip()}


def _appctl(host: HostName, *command: str) -> str:
    return netns.run("ovs-appctl", "-t", "ovs-vswitchd", *command, env=environment(host.folder, settings(host)))
