"""A host whose API and controller speak TLS only: one fingerprint is all that it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from client.trust import pin_of
from tests.agent.conftest import Host, Site
from tests.agent.site import until
from tests.agent.test_enrol import ended


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("secure"), tls=True)
    yield site
    site.close()


def pin(site: Site) -> str:
    assert site.authority is not None
    return pin_of(site.authority.read_text())


@pytest.fixture(scope="module")
def host(secure: Site) -> Iterator[Host]:
    host = Host(secure)
    host.agent = host.agent_with("--token", host.token, "--ca-pin", pin(secure))
    try:
        host.start()
        yield host
    finally:
        host.close()


def test_a_host_that_was_told_the_fingerprint_is_connected_by_tls(secure: Site, host: Host) -> None:
    until(lambda: secure.connected(host.name), "the controller has the bridge")
    ovs = secure.ovs
    assert ovs.vsctl("get-controller", host.bridge).strip() == secure.target
    assert secure.target.startswith("ssl:")
    state = host.folder / "state"
    assert f"Private key: {state / 'switch.key'}" in ovs.vsctl("get-ssl")
    assert (state / "switch.key").stat().st_mode & 0o777 == 0o600
    container = host.container()
    assert container.add()["ips"]


def test_a_restarted_agent_needs_no_fingerprint_and_no_new_certificate(secure: Site, host: Host) -> None:
    until(lambda: secure.connected(host.name), "the controller has the bridge")
    before = (host.folder / "state" / "switch.pem").read_text()
    host.agent.stop()
    host.agent = host.agent_with()
    host.start()
    until(lambda: host.report().get("agent", {}).get("pid") == host.agent.pid, "it reports")
    assert (host.folder / "state" / "switch.pem").read_text() == before
    until(lambda: secure.connected(host.name), "the bridge is connected")


def test_a_certificate_that_ends_is_replaced(secure: Site, host: Host) -> None:
    until(lambda: secure.connected(host.name), "the controller has the bridge")
    state = host.folder / "state"
    before = (state / "switch.pem").read_text()
    host.agent.stop()
    (state / "switch.json").write_text(json.dumps({"renew_at": "2026-01-01T00:00:00Z"}))
    host.agent = host.agent_with()
    host.start()
    until(lambda: (state / "switch.pem").read_text() != before, "a new certificate")
    until(lambda: secure.connected(host.name), "the bridge is connected with it")


def test_certificates_that_somebody_else_gave_the_switch_stay(secure: Site, host: Host) -> None:
    until(lambda: secure.connected(host.name), "the controller has the bridge")
    files = [str(host.folder / "state" / name) for name in ("switch.key", "switch.pem", "switch-ca.pem")]
    theirs = [str(host.folder / name) for name in ("their.key", "their.pem", "their-ca.pem")]
    for ours, other in zip(files, theirs, strict=True):
        with open(other, "w") as file, open(ours) as source:  # noqa: PTH123
            file.write(source.read())
    secure.ovs.vsctl("set-ssl", *theirs)
    host.make_it_look()
    assert theirs[0] in secure.ovs.vsctl("get-ssl")
    secure.ovs.vsctl("del-ssl")
    until(lambda: files[0] in secure.ovs.vsctl("get-ssl"), "ours is back")
    until(lambda: secure.connected(host.name), "the bridge is connected again")


def test_another_fingerprint_ends_the_agent_before_it_tells_its_token(secure: Site) -> None:
    host = Host(secure)
    code, said = ended(host.agent_with("--token", host.token, "--ca-pin", "sha256:" + "0" * 64))
    assert code != 0
    assert f"has the fingerprint {pin(secure)}, not sha256:0000" in said.splitlines()[-1]
    assert not (host.folder / "state" / "ca.pem").exists()
    assert not (host.folder / "state" / "token.json").exists()


@pytest.mark.parametrize(
    ("given", "sentence"), [("3f1c", "'3f1c' is not a fingerprint"), ("sha256:xyz", "is not a fingerprint")]
)
def test_what_is_no_fingerprint_is_said_to_be_none(secure: Site, given: str, sentence: str) -> None:
    code, said = ended(Host(secure).agent_with("--token", "wrn_1_x", "--ca-pin", given))
    assert code != 0 and sentence in said.splitlines()[-1]
