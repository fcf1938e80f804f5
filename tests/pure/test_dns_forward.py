"""Passing queries on: what the host's resolv.conf may say without harm."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from ovs_agent.dns import forward, wire
from ovs_agent.dns.forward import Asker, Forwarder, Upstreams

NO_ADDRESSES = ("192.0.2..1", ".", "resolver.example.org", "a" * 70, "192.0.2.300")


class Loop:
    """The server's, as far as a forwarder needs it, and what was answered."""

    def __init__(self, resolv_conf: Path) -> None:
        self.answers: list[bytes] = []
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self.forwarder = Forwarder(self._poll, self._handlers, Upstreams(resolv_conf))

    def ask(self, name: str) -> None:
        query = wire.parse_query(dns.message.make_query(name, "A").to_wire())
        self.forwarder.ask(Asker(query, 512, self.answers.append, 1), by_tcp=False)

    def close(self) -> None:
        self.forwarder.close()
        self._poll.close()


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    loop = Loop(tmp_path / "resolv.conf")
    yield loop
    loop.close()


def rcodes(loop: Loop) -> list[int]:
    return [dns.message.from_wire(answer).rcode() for answer in loop.answers]


@pytest.mark.parametrize("wrong", NO_ADDRESSES)
def test_a_nameserver_that_is_no_address_is_passed_over(loop: Loop, tmp_path: Path, wrong: str) -> None:
    (tmp_path / "resolv.conf").write_text(f"nameserver {wrong}\n")
    for number in range(2):
        loop.ask("www.example.org")
        assert rcodes(loop) == [dns.rcode.SERVFAIL] * (number + 1), "and the next who asks is answered, too"


@pytest.mark.parametrize("wrong", NO_ADDRESSES)
def test_so_is_one_whose_turn_comes_when_another_was_silent(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """What fails then ends the thread that answers everybody."""
    monkeypatch.setattr(forward, "TRY", 0.0)
    (tmp_path / "resolv.conf").write_text(f"nameserver 127.0.0.1\nnameserver {wrong}\n")
    loop.ask("www.example.org")
    loop.forwarder.tick()
    assert rcodes(loop) == [dns.rcode.SERVFAIL]
