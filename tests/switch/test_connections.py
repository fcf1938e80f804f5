"""Switches come and go, misbehave and return; the controller hears of each and is none the worse for it."""

from __future__ import annotations

import contextlib
import gc
import logging
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from os_ken.base.app_manager import AppManager, OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER, set_ev_cls

from controller.openflow import bundle, decode
from controller.openflow.encode import encode
from controller.pipeline.flow import Flow, Kind, Match, Output
from controller.pipeline.stages import Stage
from controller.switch import native, transport
from controller.switch.app import Connected, Disconnected, Received, Switches, Tls
from tests.ovs import Ovs, wait_for
from tests.switch.peer import Peer


class Listener:
    def __init__(self, tls: Tls | None = None) -> None:
        self.mailbox: SimpleQueue[Any] = SimpleQueue()
        self.switches = Switches("127.0.0.1", 0, self.mailbox.put, tls)
        self.switches.start()
        self.port = self.switches.port

    def next(self, seconds: float = 60) -> Any:
        return self.mailbox.get(timeout=seconds)

    def nothing(self, seconds: float = 0.3) -> bool:
        try:
            self.mailbox.get(timeout=seconds)
        except Empty:
            return True
        return False


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.switches.stop()


def connected(listener: Listener, datapath_id: int) -> int:
    event = listener.next()
    assert isinstance(event, Connected)
    assert event.datapath_id == datapath_id
    return event.connection


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# os-ken's hub, repaired.


def test_an_error_in_a_handler_is_logged_and_the_next_event_still_arrives(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    class Clumsy(OSKenApp):
        heard: SimpleQueue[int] = SimpleQueue()

        @set_ev_cls(ofp_event.EventOFPStateChange, MAIN_DISPATCHER)
        def changed(self, event: Any) -> None:
            self.heard.put(event.datapath.id)
            raise KeyError("clumsy")

    app = AppManager.get_instance().instantiate(Clumsy)
    app.start()
    try:
        with Peer(listener.port, 1), Peer(listener.port, 2):
            assert {app.heard.get(timeout=60), app.heard.get(timeout=60)} == {1, 2}
            wait_for(lambda: caplog.text.count("KeyError: 'clumsy'") == 2, "two logged errors")
    finally:
        AppManager.get_instance().uninstantiate("Clumsy")


def test_a_switch_that_leaves_is_reported_at_once(listener: Listener) -> None:
    with Peer(listener.port, 7):
        number = connected(listener, 7)
    assert listener.next() == Disconnected(7, number)


def test_reconnecting_leaves_no_thread_and_no_descriptor_behind(listener: Listener) -> None:
    with Peer(listener.port, 7):
        connected(listener, 7)
    listener.next()
    wait_for(lambda: not busy(), "the first connection's threads to end")
    gc.collect()  # what earlier tests left is closed now, and not meanwhile
    threads, files = threading.active_count(), descriptors()
    for _ in range(30):
        with Peer(listener.port, 7):
            connected(listener, 7)
        listener.next()
    wait_for(lambda: not busy(), "all connections' threads to end")
    assert threading.active_count() == threads
    assert descriptors() == files


def busy() -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("switch-") and "listener" not in thread.name
    ]


def test_a_switch_that_says_nothing_is_given_up(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "PROBE_SECONDS", 1.5)  # the switch here is a thread that has to come by in time
    with Peer(listener.port, 7) as peer:
        number = connected(listener, 7)
        for _ in range(3):
            peer.answer_echo()
        assert listener.nothing(0.01)
        assert listener.next() == Disconnected(7, number)


def test_an_echo_request_is_answered_with_its_payload(listener: Listener) -> None:
    with Peer(listener.port, 7) as peer:
        connected(listener, 7)
        peer.send(decode.ECHO_REQUEST, b"are you there", 77)
        assert peer.expect(decode.ECHO_REPLY)[4:] == (77).to_bytes(4, "big") + b"are you there"
        assert listener.nothing(0.1)


# Bytes.


def test_messages_arrive_whole_and_unparsed_however_they_are_cut(listener: Listener) -> None:
    with Peer(listener.port, 7) as peer:
        number = connected(listener, 7)
        nonsense = bytes([5, 19, 0, 24, 0, 0, 0, 9]) + bytes(range(16))  # not even valid statistics
        for byte in nonsense:
            peer.socket.sendall(bytes([byte]))
        peer.socket.sendall(nonsense * 3)
        for _ in range(4):
            assert listener.next() == Received(7, number, nonsense)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x05\x0e\x00\x03\x00\x00\x00\x01", bytes(64)])
def test_garbage_ends_its_connection_and_no_other(listener: Listener, garbage: bytes) -> None:
    with Peer(listener.port, 7) as good:
        number = connected(listener, 7)
        with Peer(listener.port, 8, shake=False) as bad:
            bad.socket.sendall(garbage)
            bad.expect(0)
            while bad.receive():
                pass
        good.send(20, b"")
        assert isinstance(listener.next(), Received)
        listener.switches.send(7, bundle.dump(5), number)
        assert good.receive() == bundle.dump(5)


def test_a_switch_that_does_not_speak_openflow_1_4_is_turned_away(listener: Listener) -> None:
    with Peer(listener.port, 7, shake=False) as peer:
        peer.socket.sendall(bytes([4, 0, 0, 8, 0, 0, 0, 1]))
        peer.expect(0)
        assert peer.receive()[1] == decode.ERROR
        assert peer.receive() == b""
    assert listener.nothing()


def test_a_switch_that_takes_nothing_holds_nobody_up_and_is_given_up(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "STALL_SECONDS", 10.0)
    with Peer(listener.port, 7, receive_buffer=4096), Peer(listener.port, 8) as good:
        numbers = dict([listener.next()[:2], listener.next()[:2]])
        start = time.monotonic()
        for _ in range(100):
            listener.switches.send(7, bytes(1 << 20))
        listener.switches.send(8, bundle.dump(5))
        assert time.monotonic() - start < transport.STALL_SECONDS, "nobody waits for the other"
        assert good.receive() == bundle.dump(5)
        assert listener.next() == Disconnected(7, numbers[7])


# Who is who.


def test_of_two_connections_of_one_switch_the_newer_counts(listener: Listener) -> None:
    with Peer(listener.port, 7) as old:
        first = connected(listener, 7)
        with Peer(listener.port, 7) as new:
            second = connected(listener, 7)
            assert listener.next() == Disconnected(7, first)
            assert old.receive() == b""
            listener.switches.send(7, b"lost", first)
            listener.switches.send(7, bundle.dump(1), second)
            listener.switches.send(7, bundle.dump(2))
            assert [new.receive(), new.receive()] == [bundle.dump(1), bundle.dump(2)]


def test_a_switch_can_be_sent_away_and_comes_back(listener: Listener) -> None:
    with Peer(listener.port, 7) as peer:
        number = connected(listener, 7)
        listener.switches.disconnect(7, number + 1000)
        listener.switches.disconnect(7)
        assert peer.receive() == b""
        assert listener.next() == Disconnected(7, number)
    with Peer(listener.port, 7):
        assert connected(listener, 7) > number
    listener.switches.send(99, b"to nobody")


def test_a_port_that_is_taken_is_an_error_at_once(listener: Listener) -> None:
    with pytest.raises(OSError, match="Address already in use"):
        Switches("127.0.0.1", listener.port, print)


def test_it_listens_on_ipv6_too() -> None:
    switches = Switches("::1", 0, print)
    switches.start()
    assert switches.port
    switches.stop()


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two authorities, `ca` and `other`, and for each a certificate for anyone: `ca-1`, `other-1`."""
    folder = tmp_path_factory.mktemp("pki")
    for name in ("ca", "other"):
        openssl(folder, "req", "-x509", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        request = ("req", "-subj", f"/CN={name}-1", "-keyout", f"{name}-1.key", "-out", f"{name}-1.csr")
        openssl(folder, *request)
        sign = ("x509", "-req", "-in", f"{name}-1.csr", "-CA", f"{name}.pem", "-CAkey", f"{name}.key")
        subprocess.run(
            ["openssl", *sign, "-CAcreateserial", "-days", "2", "-out", f"{name}-1.pem"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    return folder


def openssl(folder: Path, *arguments: str) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    days = ("-days", "2") if "-x509" in arguments else ()
    subprocess.run(["openssl", *arguments, *curve, *days], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def secure(authority: Path) -> Iterator[Listener]:
    listener = Listener(Tls(authority / "ca-1.key", authority / "ca-1.pem", authority / "ca.pem"))
    yield listener
    listener.switches.stop()


def test_a_bridge_with_our_authoritys_certificate_is_served_over_tls(secure: Listener, authority: Path) -> None:
    """Large bundles out and large dumps in at the same time, on the same connection."""
    flows = [
        encode(Flow(Stage.ROUTE, 1, (Match("eth_type", 0x800), Match("ip_dst", n)), (Output(1),), None, Kind.HOST))
        for n in range(5000)
    ]
    with Ovs() as ovs:
        ovs.vsctl("set-ssl", *(str(authority / name) for name in ("ca-1.key", "ca-1.pem", "ca.pem")))
        ovs.add_bridge("br", datapath_id=7)
        ovs.set_controller("br", f"ssl:127.0.0.1:{secure.port}")
        connected(secure, 7)
        for turn in range(0, 30, 3):
            filled = bundle.fill([flow.message for flow in flows], open_xid=0x1000 + turn, close_xid=0x1001 + turn)
            secure.switches.send(7, filled + bundle.dump(0x2000 + turn) + bundle.commit(0x1002 + turn))
        dumped: dict[int, int] = {}
        committed = 0
        while committed < 10:
            message = secure.next().message
            head = decode.header(message)
            assert head.type != decode.ERROR, decode.error(message)
            if head.type == decode.MULTIPART_REPLY:
                dumped[head.xid] = dumped.get(head.xid, 0) + len(decode.flows(message))
            elif decode.bundle_control(message) == bundle.COMMITTED:
                committed += 1
        assert dumped == {0x2000: 0} | {0x2000 + turn: 5000 for turn in range(3, 30, 3)}


@pytest.mark.parametrize(
    ("shown", "reason"),
    [("other-1", "certificate verify failed"), (None, "peer did not return a certificate")],
    ids=["of another authority", "none"],
)
def test_a_switch_without_our_authoritys_certificate_is_turned_away(
    secure: Listener, authority: Path, caplog: pytest.LogCaptureFixture, shown: str | None, reason: str
) -> None:
    certificate = ["-cert", f"{shown}.pem", "-key", f"{shown}.key"] if shown else []
    subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port}", "-CAfile", "ca.pem", *certificate],
        cwd=authority,
        input=bytes([5, 0, 0, 8, 0, 0, 0, 1]),
        capture_output=True,
        timeout=60,
    )
    wait_for(lambda: reason in caplog.text, reason)
    assert secure.nothing()


def test_a_switch_that_speaks_no_tls_is_turned_away_and_threads_end(
    secure: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Peer(secure.port, 7, shake=False) as peer:
        peer.send(0, b"")
        with contextlib.suppress(ConnectionResetError):
            while peer.socket.recv(1000):
                pass
    wait_for(lambda: "connection from 127.0.0.1" in caplog.text, "a line in the log")
    wait_for(lambda: not busy(), "threads to end")
