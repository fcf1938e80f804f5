"""What each call of a container runtime does: Warren as the plugin that makes the interface, and as the IPAM plugin of
another that does, like `bridge` or `macvlan`.

```
 runtime ── warren ────────────── attachment            interface, addresses, flows
 runtime ── warren ── host-local  attachment            with the addresses that it gave
 runtime ── bridge ── warren      claim                 addresses alone: nobody else gets them
```

It decides what belongs to a call and what is undone when a part of it fails. Words are `spec`'s, the work is others'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from client.rest import Problem
from ovs_agent.attach import Attached, Attacher, NotAttached
from ovs_agent.cni import delegate, result, spec, wish
from ovs_agent.cni.spec import Call, CniError
from ovs_agent.confirm import Abandoned
from ovs_agent.document import ADDRESSES_ONLY, Endpoint
from ovs_agent.ledger import Key
from ovs_agent.netlink import shape
from ovs_agent.netlink.veth import Routing
from ovs_agent.publish import Publisher

PATIENCE = 20.0
"""Seconds that the API may take to claim an address."""
Gone = Callable[[], bool]
Reply = Mapping[str, Any] | None


class Unfit(NamedTuple):
    """Why an ADD could not be served, and whether containers that run are concerned as well."""

    why: str
    impaired: bool = False


class Plugin:
    """`fit` answers None when an ADD can be served."""

    def __init__(self, attacher: Attacher, publisher: Publisher, fit: Callable[[], Unfit | None]) -> None:
        self._attacher = attacher
        self._publisher = publisher
        self._fit = fit

    def carry_out(self, call: Call, environment: Mapping[str, str], gone: Gone) -> Reply:
        """What is printed. Raises CniError, or whatever went wrong below. `gone`: nobody waits for the answer."""
        match call.command:
            case "ADD":
                return self._claim(call, gone) if call.is_ipam else self._add(call, environment, gone)
            case "DEL":
                self.delete(call, environment)
            case "CHECK":
                found = self._claim_complaints(call) if call.is_ipam else self._complaints(call)
                if found:
                    raise CniError(spec.CHECK_FAILED, found[0], " ".join(found[1:]))
                self._pass_on(call, environment)
            case "GC":
                self._collect(call, environment)
            case "STATUS":
                if unfit := self._fit():
                    raise CniError(spec.IMPAIRED if unfit.impaired else spec.NOT_AVAILABLE, unfit.why)
                self._pass_on(call, environment)
            case _:
                return spec.version_reply(call.config)
        return None

    def delete(self, call: Call, environment: Mapping[str, str]) -> None:
        self._attacher.detach(_key(call))
        self._pass_on(call, environment, "DEL")

    def _add(self, call: Call, environment: Mapping[str, str], gone: Gone) -> Reply:
        wish.published(call)  # before anything is done
        given = result.NOTHING
        if not call.delegate:
            done = self._attach(call, wish.attachment(call), gone, given)
            return result.attached(call, done.endpoint, done.host_mac, done.gateways)
        wish.attachment(call)  # before anybody is asked for addresses
        answer = delegate.ask(call, "ADD", environment)
        try:
            given = result.given(answer, call.delegate)
            done = self._attach(call, wish.attachment(call, given.addresses), gone, given)
        except BaseException:
            with suppress(CniError):
                delegate.ask(call, "DEL", environment)
            raise
        return result.attached(call, done.endpoint, done.host_mac, done.gateways, given)

    def _attach(self, call: Call, asked: Mapping[str, Any], gone: Gone, given: result.Given) -> Attached:
        routing = Routing(given.routes, given.default)
        done = self._attacher.attach(_key(call), call.netns, asked, call.name, gone, routing)
        try:
            if ports := wish.published(call):
                self._publisher.publish(_key(call), ports)
        except BaseException:
            self._attacher.detach(_key(call))
            raise
        return done

    def _complaints(self, call: Call) -> list[str]:
        found = self._attacher.complaints(_key(call), result.routed(call))
        endpoint = self._endpoint(_key(call))
        return found + (shape.complaints(endpoint) if endpoint is not None and not found else [])

    def _claim(self, call: Call, gone: Gone) -> Reply:
        """Addresses for a container whose interface another plugin makes: an endpoint without a port."""
        key = _key(call)
        if self._endpoint(key) is not None:
            said = f"Interface {call.ifname} of container {call.container_id} has addresses of {call.name} already"
            raise CniError(spec.INTERFACE_EXISTS, f"{said}; delete it first.")
        try:
            endpoint, _ = self._attacher.claim(key, wish.attachment(call), PATIENCE)
            if gone():
                raise Abandoned("the caller went away")
            return result.addresses(call, endpoint)
        except CniError:
            raise
        except BaseException as fault:
            if not (isinstance(fault, Problem) and fault.status < 500):  # refused: there is nothing to undo
                self._attacher.detach(key)
            raise

    def _claim_complaints(self, call: Call) -> list[str]:
        endpoint = self._endpoint(_key(call))
        if endpoint is None:
            raise NotAttached(f"Interface {call.ifname} of container {call.container_id} has no addresses of Warren's.")
        listed = {str(one.get("address")) for one in call.previous.get("ips") or []}
        return [
            f"The result has no address {one}, which is this container's."
            for one in endpoint.addresses
            if one not in listed
        ]

    def _collect(self, call: Call, environment: Mapping[str, str]) -> None:
        """Goes on after what fails, and says it in the end."""
        valid = spec.valid_attachments(call)
        if call.is_ipam:
            scope = _key(call)[0]  # without a container
            mine = {one.key for one in self._attacher.known() if one.container_id.startswith(scope)}
            stale = mine - {(scope + container, ifname) for container, ifname in valid}
        else:
            stale = self._attacher.attachments(call.name) - valid
        failed: list[Exception] = []
        for key in sorted(stale):
            try:
                self._attacher.detach(key)
            except Exception as fault:
                failed.append(fault)
        self._pass_on(call, environment)
        if failed:
            raise failed[0]

    def _pass_on(self, call: Call, environment: Mapping[str, str], command: str = "") -> None:
        if call.delegate:
            delegate.ask(call, command or call.command, environment)

    def _endpoint(self, key: Key) -> Endpoint | None:
        return max((one for one in self._attacher.known() if one.key == key), key=lambda one: one.id, default=None)


def _key(call: Call) -> Key:
    """Container and interface; of a claim the container tells whose it is, for GC."""
    return (f"{ADDRESSES_ONLY}{call.name}:{call.container_id}" if call.is_ipam else call.container_id), call.ifname
