"""Network namespaces and the links in them.

It decides how a thread enters a namespace (a setns of this thread only; whatever it starts there, sockets and
processes, stays there) and how links are made in bulk. It knows nothing of labs, hosts or switches.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.names import NETNS, LabError

CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x20000
MNT_DETACH, MS_BIND, MS_REC, MS_PRIVATE = 2, 4096, 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def path(name: str) -> Path:
    return NETNS / name


def exists(name: str) -> bool:
    """A mounted namespace; a bare file left by a run that died half-way is not one."""
    try:
        return path(name).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except OSError:
        return False


def create(name: str) -> None:
    """Make the namespace with its loopback up, or leave it as it is."""
    if exists(name):
        return
    path(name).unlink(missing_ok=True)
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")


def delete(name: str) -> None:
    """Remove the name; the kernel removes the devices once nothing runs in it."""
    target = path(name)
    while _libc.umount2(str(target).encode(), MNT_DETACH) == 0:
        pass  # a name mounted twice (two runs at once) has two layers
    try:
        target.unlink(missing_ok=True)
    except OSError as fault:
        if fault.errno != errno.EBUSY:
            raise
        run("ip", "netns", "del", name)


def names(prefix: str) -> list[str]:
    return sorted(entry.name for entry in NETNS.glob(prefix + "*")) if NETNS.is_dir() else []


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread works in the namespace; processes it starts and sockets it makes belong there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(name)
        try:
            yield
        finally:
            _setns(home, "home")
    finally:
        os.close(home)


def enter(name: str) -> None:
    """Move this thread into the namespace for good."""
    try:
        there = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise LabError(f"Network namespace '{name}' is gone; `warren lab up` makes it again.") from None
    try:
        _setns(there, name)
    finally:
        os.close(there)


def see(file: Path, place: Path) -> None:
    """From now on this process, and what it starts, finds `file` at `place`; nobody else does."""
    there = place.resolve()
    if (
        _libc.unshare(CLONE_NEWNS)
        or _libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
        or _libc.mount(str(file).encode(), str(there).encode(), None, MS_BIND, None)
    ):
        raise LabError(f"Cannot lay {file} over {there} for a command ({os.strerror(ctypes.get_errno())}).")


def batch(name: str, lines: list[str]) -> None:
    """Run `ip` commands in the namespace, in one process; the first that fails ends them."""
    run("ip", "-n", name, "-batch", "-", stdin="\n".join(lines) + "\n")


def run(*argv: str, stdin: str | None = None, env: dict[str, str] | None = None) -> str:
    """Run a short command; a failure is one sentence with what the command said."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, env=env)
    except FileNotFoundError:
        raise LabError(f"`{argv[0]}` is not installed here; `make up` installs what is missing.") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{' '.join(argv)}` did not end within 60 s.") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"`{' '.join(argv)}` failed: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout


def _setns(fd: int, name: str) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        code = ctypes.get_errno()
        raise LabError(f"Cannot enter network namespace '{name}' ({os.strerror(code)}); the lab needs root.")
