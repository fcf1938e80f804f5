"""Becoming a host of Warren: once, with the right token."""

from __future__ import annotations

import json

from db import hosts
from db.changes import transaction
from ovs_agent.cni.install import install
from tests.agent.conftest import Host, Site
from tests.agent.site import Process, until


def ended(agent: Process) -> tuple[int, str]:
    agent.start()
    return agent.end(), agent.said


def test_a_wrong_token_ends_the_agent_with_the_apis_sentence(site: Site) -> None:
    host = Host(site)
    code, said = ended(host.agent_with("--token", "wrn_1_nonsense"))
    assert code != 0 and "token" in said.splitlines()[-1] and "Traceback" not in said


def test_without_a_token_the_agent_says_how_to_get_one(site: Site) -> None:
    host = Host(site)
    code, said = ended(host.agent_with())
    assert code != 0 and "warren host create" in said


def test_a_token_works_once_and_the_host_keeps_its_own(host: Host) -> None:
    kept = host.folder / "state" / "token.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert host.token not in kept.read_text()
    other = host.agent_with("--token", host.token, "--state-dir", str(host.folder / "elsewhere"))
    code, said = ended(other)
    assert code != 0 and f"warren host token {host.name}" in said  # and the other agent speaks there, too


def test_a_restart_needs_no_token_and_minds_no_old_one(host: Host) -> None:
    for more in ((), ("--token", host.token), ("--token", "")):
        host.agent.stop()
        host.agent = host.agent_with(*more)
        host.start()


def test_a_new_token_enrols_again(host: Host) -> None:
    with transaction(host.site.engine) as tx:
        token = hosts.new_enrol_token(tx, host.name)
    before = json.loads((host.folder / "state" / "token.json").read_text())
    host.agent.stop()
    host.agent = host.agent_with("--token", token)
    host.start()
    after = json.loads((host.folder / "state" / "token.json").read_text())
    assert after["host"] == before["host"] and after["token"] != before["token"]
    until(lambda: host.report().get("agent", {}).get("pid") == host.agent.pid, "it reports with its new token")


def test_an_agent_waits_for_an_api_that_is_not_there_yet(site: Site) -> None:
    host = Host(site)
    try:
        with site.without_api():
            host.agent.start()
            until(lambda: "Trying again" in host.agent.said, "it says that it waits")
        until(host.socket.exists, "it is enrolled and ready")
    finally:
        host.close()


def test_two_agents_do_not_share_a_run_directory(host: Host) -> None:
    code, said = ended(host.agent_with())
    assert code != 0 and "Another agent" in said


def test_the_plugin_is_installed_whole_and_a_configuration_stays(host: Host) -> None:
    _, configuration = install(host.folder / "bin", host.folder / "net.d", host.socket, None)
    configuration.write_text('{"mine": true}')
    plugin, _ = install(host.folder / "bin", host.folder / "net.d", host.socket, None)
    assert json.loads(configuration.read_text()) == {"mine": True}
    assert plugin.stat().st_mode & 0o777 == 0o755 and str(host.socket) in plugin.read_text()
