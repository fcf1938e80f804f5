"""os-ken's switch connection, without the faults of its native hub.

With the hub as it is an exception in a handler ends that application's thread without a word, a switch that
disconnects is never reported, each reconnect leaves threads behind, and a TLS error makes the receiver spin. Handshake,
state changes and their events stay os-ken's; once a switch is up, its messages are handed on as the bytes they are.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from os_ken.controller import controller, ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from os_ken.lib import hub
from os_ken.ofproto import ofproto_parser

from controller.openflow import decode
from controller.switch.transport import Stream

log = logging.getLogger("warren.switch")

PROBE_SECONDS = 5.0
PROBES = 3
"""A switch that says nothing is asked for an echo every `PROBE_SECONDS`, and given up after `PROBES` without answer."""

_numbers = itertools.count(1)


class HubExit(BaseException):
    """What a thread of the hub raises to end itself."""


def repair_hub() -> None:
    """`hub.TaskExit` is `Exception`, so that any error in a handler counts as a wish to end its thread."""
    hub.TaskExit = HubExit
    if not hasattr(hub.HubThread, "warren"):
        start = hub.HubThread.start

        def start_daemon(thread: Thread) -> None:
            thread.daemon = True  # or the process could not end while an application waits for events
            start(thread)

        hub.HubThread.start = start_daemon
        hub.HubThread.warren = True


repair_hub()


class Connection(controller.Datapath):
    """One connection from a switch. `number` is never used again, `receive` gets its messages once it is up."""

    receive: Callable[[bytes], None] | None = None

    def __init__(self, stream: Stream, address: Any, owner: Any) -> None:
        self.owner = owner
        self.number = next(_numbers)
        self._stream = stream
        self._outbox: SimpleQueue[tuple[bytes | memoryview, bool] | None] = SimpleQueue()
        self._sending = Lock()
        self._waiting = 0  # in the outbox or in the sender's hands
        super().__init__(_Deaf(), address)

    # What os-ken calls.

    def send(self, buf: bytes, close_socket: bool = False) -> bool:
        """Never blocks: what the socket does not take at once is left to the sender."""
        with self._sending:
            if not self._waiting:
                try:
                    rest = self._stream.offer(buf)
                except OSError:
                    self._stream.shut()  # the receiver ends the connection
                    return False
                if not rest and close_socket:
                    self._stream.shut()
                if not rest:
                    return True
                buf = rest
            self._waiting += 1
            self._outbox.put((buf, close_socket))
        return True

    def close(self) -> None:
        self._stream.shut()

    def serve(self) -> None:
        """Returns when the connection is over and everyone has been told."""
        sender = Thread(target=self._send_all, name=f"switch-{self.number}-send", daemon=True)
        sender.start()
        try:
            self.send_msg(self.ofproto_parser.OFPHello(self))
            self._receive_all()
        except EOFError:
            log.debug("%s closed its connection", self.address)
        except (OSError, ValueError) as error:
            log.warning("connection from %s: %s", self.address, error)
        except Exception:
            log.exception("connection from %s ended by a message that os-ken did not understand", self.address)
        finally:
            self.is_active = False
            self.set_state(DEAD_DISPATCHER)
            self._stream.shut()
            self._outbox.put(None)
            sender.join()
            self._stream.close()

    # Bytes.

    def _send_all(self) -> None:
        try:
            while (item := self._outbox.get()) is not None:
                data, last = item
                self._stream.send(data)
                if last:
                    break
                with self._sending:
                    self._waiting -= 1
        except OSError as error:
            log.debug("sending to %s: %s", self.address, error)
        finally:
            self._stream.shut()  # the receiver ends the connection

    def _receive_all(self) -> None:
        buffer = b""
        unanswered = 0
        while True:
            data = self._stream.receive(PROBE_SECONDS)
            if data is None:
                if unanswered == PROBES:
                    raise TimeoutError(f"silent for {PROBE_SECONDS * (PROBES + 1):.0f} s")
                unanswered += 1
                self.send(decode.HEADER.pack(self.ofproto.OFP_VERSION, decode.ECHO_REQUEST, 8, 0))
                continue
            unanswered = 0
            buffer += data
            position = 0
            while len(buffer) - position >= 8:
                head = decode.Header(*decode.HEADER.unpack_from(buffer, position))
                if head.length < 8 or not 1 <= head.version <= 6:
                    raise ValueError(f"what it sends is not OpenFlow (version {head.version}, length {head.length})")
                if len(buffer) - position < head.length:
                    break
                self._handle(head, buffer[position : position + head.length])
                position += head.length
            buffer = buffer[position:]

    def _handle(self, head: decode.Header, message: bytes) -> None:
        if head.type == decode.ECHO_REQUEST:
            self.send(message[:1] + bytes([decode.ECHO_REPLY]) + message[2:])
        elif self.state == MAIN_DISPATCHER:
            if self.receive is not None and head.type != decode.ECHO_REPLY:
                self.receive(message)
        elif head.type != decode.ECHO_REPLY:
            parsed = ofproto_parser.msg(self, *head, bytearray(message))
            if parsed:
                self._tell(ofp_event.ofp_msg_to_ev(parsed))

    def _tell(self, event: Any) -> None:
        """To os-ken's own handlers of the handshake, in this thread."""
        for handler in self.ofp_brick.get_handlers(event, self.state):
            handler(event)


class _Deaf:
    """The socket that os-ken sets options on; the stream has the real one."""

    def setsockopt(self, *_: Any) -> None:
        pass

    def settimeout(self, _: float) -> None:
        pass
