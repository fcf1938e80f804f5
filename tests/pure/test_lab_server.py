"""Where people find a lab: a port that it holds from the moment it is chosen."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from lab import server
from tests.ports import own_port


def port_of(one: socket.socket) -> int:
    return int(one.getsockname()[1])


def test_labs_that_start_at_once_get_a_port_each_and_one_of_them_the_wanted() -> None:
    wanted = own_port()
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        held = [stack.enter_context(one) for one in pool.map(lambda _: server.listen(wanted), range(8))]
        ports = [port_of(one) for one in held]
        assert len(set(ports)) == 8 and wanted in ports
        for port in ports:
            socket.create_connection(("127.0.0.1", port), 5).close()
