"""What a container runtime sees of the agent: its configuration, and STATUS."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.agent.conftest import Host
from tests.agent.site import Container, until


@pytest.mark.parametrize("part", ["api", "controller", "agent"])
def test_the_configuration_goes_with_what_an_attach_needs(
    host: Host, container: Callable[..., Container], part: str
) -> None:
    published = host.folder / "net.d" / "10-warren.conflist"
    until(published.exists, "it is there")
    box = container()
    if part == "api":
        with host.site.without_api():
            until(lambda: not published.exists(), "it is taken away")
            assert box.call("STATUS").code == 50
    elif part == "controller":
        host.site.controller.stop(signal.SIGKILL)
        until(lambda: not published.exists(), "it is taken away")
        said = box.call("STATUS")
        assert said.code == 50 and "controller" in said.body["msg"]
        host.site.controller.start()
    else:
        host.agent.stop()
        assert not published.exists()
        host.start()
    until(published.exists, "it is there again")
    until(lambda: box.call("STATUS") == (0, None), "it is said to be fit")
    box.add()
    box.delete()
