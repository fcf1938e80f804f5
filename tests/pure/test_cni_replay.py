"""What Podman 4.3 really said to this plugin, said again: podman_4_3.jsonl has every call of a session with the answer
it got, below the command that caused it. Addresses of this run may be others than those recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovs_agent.cni.spec import SUPPORTED
from tests.pure.cni_world import Plugin, Reply
from tests.pure.test_docker_replay import alike

RECORDED = Path(__file__).with_name("podman_4_3.jsonl")
CALLS = [json.loads(line) for line in RECORDED.read_text().splitlines() if not line.startswith("#")]


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    plugin = Plugin(tmp_path)
    yield plugin
    plugin.stop()


def say(plugin: Plugin, call: Any, command: str = "", **config: Any) -> Reply:
    environment = call["env"] | ({"CNI_COMMAND": command} if command else {})
    return plugin.call(environment, json.dumps({**call["stdin"], **config}))


def asked_for(call: Any) -> set[str]:
    pairs = dict(pair.split("=", 1) for pair in call["env"]["CNI_ARGS"].split(";"))
    return {pairs["IP"]} if "IP" in pairs else set(call["stdin"].get("runtimeConfig", {}).get("ips", []))


def test_the_session_is_answered_as_it_was(plugin: Plugin) -> None:
    seen = []
    for call in CALLS:
        reply = say(plugin, call)
        seen.append(call["env"]["CNI_COMMAND"])
        assert reply.exit == call["exit"], (call, reply)
        assert reply.text == "" if call["reply"] is None else alike(reply.body, call["reply"]), (call, reply)
        if seen[-1] == "ADD" and not reply.exit:
            given = {one["address"].split("/")[0] for one in reply.body["ips"]}
            assert asked_for(call) <= given
            assert [one["address"].split("/")[1] for one in reply.body["ips"]] == [
                one["address"].split("/")[1] for one in call["reply"]["ips"]
            ]
        elif reply.exit:
            assert reply.body["code"] == call["reply"]["code"]
    assert seen.count("ADD") == 15 and seen.count("DEL") == 15
    assert plugin.attachments.known() == ()


def test_every_call_comes_twice(plugin: Plugin) -> None:
    """As of a runtime that heard no answer: a second ADD is refused and harms nothing, a second DEL succeeds."""
    for call in CALLS:
        first, known = say(plugin, call), plugin.attachments.known()
        again = say(plugin, call)
        assert plugin.attachments.known() == known
        if call["env"]["CNI_COMMAND"] == "ADD" and not first.exit:
            assert again.exit == 1 and again.body["code"] == 100 and "delete it first" in again.body["msg"]
        else:
            assert again.exit == first.exit
    assert plugin.attachments.known() == ()


@pytest.mark.parametrize("version", SUPPORTED)
def test_every_add_in_every_version_with_check_and_without_namespace_at_the_end(plugin: Plugin, version: str) -> None:
    """As libcni has it: CHECK carries the result, and containerd's last DELs neither namespace nor result."""
    for call in (one for one in CALLS if one["env"]["CNI_COMMAND"] == "ADD" and not one["exit"]):
        added = say(plugin, call, cniVersion=version)
        assert added.exit == 0 and added.body["cniVersion"] == version
        assert all(("version" in one) == (version < "1.0.0") for one in added.body["ips"])
        checked = say(plugin, call, "CHECK", cniVersion=version, prevResult=added.body)
        assert (checked.exit, checked.text) == (0, "") if version > "0.3.1" else checked.body["code"] == 1
        for netns in (call["env"]["CNI_NETNS"], "", ""):
            environment = {**call["env"], "CNI_COMMAND": "DEL", "CNI_NETNS": netns}
            config = {**call["stdin"], "cniVersion": version, **({"prevResult": added.body} if netns else {})}
            assert plugin.call(environment, json.dumps(config)) == (0, "")
        assert plugin.attachments.known() == ()
