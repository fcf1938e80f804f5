"""What `warren attach` and `warren detach` ask the agent for, over the socket that the CNI plugin speaks to.

It decides the form of request and answer, and which failures are the caller's mistakes. It refuses to know where a
network namespace was found: that is the command's business.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from ovs_agent.attach import Attacher, NotAttached
from ovs_agent.netlink.veth import Routing

SCOPE = "by hand"
"""Nobody else's garbage collection."""
LONGEST_WAIT = 10.0


def carry_out(request: Mapping[str, Any], attacher: Attacher, gone: Callable[[], bool]) -> Any:
    """`{"do": "attach" | "detach" | "progress", ..}` to what is printed as JSON. Raises whatever went wrong;
    ValueError, KeyError and TypeError when the request is not of this form."""
    match request["do"]:
        case "attach":
            key, wish = _key(request), dict(request["wish"])
            routing = Routing(tuple(map(_route, request["routes"])), bool(request["default_route"]))
            done = attacher.attach(key, str(wish["netns"]), wish, SCOPE, gone, routing)
            return {**done.endpoint._asdict(), "routed": done.gateways, "revision": done.revision}
        case "detach":
            key = _key(request)
            if not attacher.attached(key):
                raise NotAttached(
                    f"Interface {key[1]} of {key[0]} is not attached here; `warren endpoint list` tells what is."
                )
            return {"revision": attacher.detach(key)}
        case "progress":
            return attacher.progress(int(request["revision"]), min(float(request["wait"]), LONGEST_WAIT))
        case other:
            raise ValueError(f"the agent cannot {other!r}; are agent and command of one version?")


def undo(request: Mapping[str, Any], attacher: Attacher) -> None:
    """Nobody knows that an attach succeeded."""
    if request["do"] == "attach" and not request["wish"].get("move"):
        attacher.detach(_key(request))


def _key(request: Mapping[str, Any]) -> tuple[str, str]:
    return str(request["container"]), str(request["ifname"])


def _route(listed: list[str | None]) -> tuple[str, str | None]:
    cidr, gateway = listed
    network = ipaddress.ip_network(str(cidr))
    if gateway is not None and ipaddress.ip_address(gateway).version != network.version:
        raise ValueError(f"route {cidr} and its gateway {gateway} are of two families")
    return str(network), gateway
