"""`warren web` serves HTTPS unless told otherwise, and clients believe the authority that they were told of."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from client.__main__ import run
from client.rest import Rest, Unreachable
from client.trust import fetch, pin_of
from db import users
from db.authority import Authority, own_names
from db.changes import transaction
from db.engine import create_engine
from db.errors import Invalid
from tests.web.conftest import PASSWORD, Site, bootstrap
from tests.web.servers import COMMAND, Server, serving
from tests.web.test_bad_input import assert_problem
from web.app import create_app
from web.main import reachable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tls"


@pytest.fixture
def secure(sqlite_url: str, tmp_path: Path, folder: Path) -> Iterator[Server]:
    with serving(sqlite_url, tmp_path, "--tls-dir", str(folder)) as server:
        yield server


@pytest.fixture
def token(sqlite_url: str) -> str:
    engine = create_engine(sqlite_url)
    found = bootstrap(engine)[0]
    engine.dispose()
    return found


def test_the_first_start_makes_an_authority_and_says_its_fingerprint(secure: Server, folder: Path, token: str) -> None:
    pin = pin_of((folder / "ca.pem").read_text())
    assert pin in secure.log.read_text()
    for key in ("ca.key", "web.key"):
        assert stat.S_IMODE((folder / key).stat().st_mode) == 0o600
    assert Rest(secure.url, token, ca=str(folder / "ca.pem")).get("/whoami").body["role"] == "admin"
    assert fetch(secure.url, pin) == (folder / "ca.pem").read_text()


def test_a_restart_keeps_authority_and_certificate(secure: Server, folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    secure.stop()
    secure.restart()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_who_does_not_know_the_authority_is_told_how_to(secure: Server, token: str) -> None:
    with pytest.raises(
        Unreachable, match=r"no certificate that is trusted here \(self-signed .*--ca-pin the fingerprint"
    ):
        Rest(secure.url, token).get("/whoami")
    with pytest.raises(Unreachable, match="if it speaks HTTPS, write https://"):
        Rest(secure.url.replace("https", "http"), token).get("/whoami")


def test_another_authoritys_certificate_is_not_believed(secure: Server, token: str, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    with pytest.raises(Unreachable, match="no certificate that is trusted here"):
        Rest(secure.url, token, ca=other.pem).get("/whoami")
    with pytest.raises(Unreachable, match=f"has the fingerprint sha256:.* not {other.pin}"):
        fetch(secure.url, other.pin)


def test_a_file_that_is_no_certificate_is_named(secure: Server, tmp_path: Path) -> None:
    for path in (tmp_path / "none.pem", tmp_path / "warren.db"):
        with pytest.raises(Unreachable, match=f"'{path}' cannot be read as a certificate"):
            Rest(secure.url, ca=str(path))


def test_log_in_with_the_fingerprint_is_remembered(
    secure: Server,
    folder: Path,
    token: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pin = pin_of((folder / "ca.pem").read_text())
    for name in ("WARREN_API", "WARREN_TOKEN", "WARREN_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WARREN_CONFIG", str(tmp_path / "client.json"))

    def warren(*words: str) -> str:
        assert run(list(words)) == 0, capsys.readouterr()
        return capsys.readouterr().out

    assert "knows you as boss" in warren("login", secure.url, "--token", token, "--ca-pin", pin)
    assert json.loads(warren("tenant", "list", "-o", "json"))["items"] == []
    assert f"--ca-pin {pin} --token wrn_" in warren("host", "create", "h1", "--no-wait")


def test_browsers_are_told_to_stay_with_https(secure: Server, sqlite_url: str, folder: Path) -> None:
    engine = create_engine(sqlite_url)
    with transaction(engine) as tx:
        users.create(tx, "ada", PASSWORD, role="admin")
    engine.dispose()
    http = urllib3.PoolManager(ca_certs=str(folder / "ca.pem"))
    answer = http.request("POST", f"{secure.url}/login", fields={"user": "ada", "password": PASSWORD}, redirect=False)
    assert answer.status == 303
    assert answer.headers["Set-Cookie"].startswith("__Host-warren=") and "Secure" in answer.headers["Set-Cookie"]
    assert "max-age=63072000" in answer.headers["Strict-Transport-Security"]


def test_a_certificate_lasts_and_has_the_names_it_is_asked_for(folder: Path) -> None:
    authority = Authority(folder)
    first = authority.for_this_machine("web", {"warren.example", "192.0.2.10"})
    before = first.certificate.read_bytes()
    assert authority.for_this_machine("web", {"192.0.2.10"}).certificate.read_bytes() == before
    assert authority.for_this_machine("web", {"192.0.2.11"}).certificate.read_bytes() != before
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-text", "-in", first.certificate], capture_output=True, text=True, check=True
    ).stdout
    assert "IP Address:192.0.2.11" in text and "CA:FALSE" in text
    checked = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", folder / "ca.pem", first.certificate], capture_output=True
    )
    assert checked.returncode == 0, checked.stderr
    assert {"localhost", "127.0.0.1", "192.0.2.10"} <= own_names(["192.0.2.10:8080", "0.0.0.0:80", "fd://3"])


def test_a_certificate_of_another_authority_is_replaced(folder: Path, tmp_path: Path) -> None:
    files = Authority(folder).for_this_machine("web", {"localhost"})
    before = files.certificate.read_bytes()
    for name in ("ca.pem", "ca.key"):
        (folder / name).unlink()
    assert Authority(folder).for_this_machine("web", {"localhost"}).certificate.read_bytes() != before


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match=r"cannot be used.*name a folder"):
        Authority(tmp_path / "file" / "tls")
    command = [*COMMAND, "--db", sqlite_url, "--bind", "127.0.0.1:0", "--tls-dir", str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "--tls-dir" in done.stderr and "Traceback" not in done.stderr
    both = subprocess.run(
        [*COMMAND, "--db", sqlite_url, "--insecure-http", "--certificate", sys.executable],
        capture_output=True,
        text=True,
    )
    assert both.returncode == 2 and "exclude each other" in both.stderr


def test_plain_http_warns_where_others_may_listen() -> None:
    assert [reachable(bind) for bind in ("0.0.0.0:80", "192.0.2.1:80", "[::]:80", ":80")] == [True] * 4
    assert not any(map(reachable, ("127.0.0.1:80", "[::1]:80", "localhost:80", "unix:/run/w", "fd://3")))


def test_a_hosts_certificate_is_its_own_and_never_sent_in_clear(site: Site, folder: Path) -> None:
    agent, other = site.enrolled("h1"), site.enrolled("h2", "198.18.0.12")
    assert_problem(agent.post("/hosts/h1/certificate"), 409, "signs no certificates")
    assert_problem(site.nobody.get("/../../ca.pem"), 404)
    app = create_app(str(site.engine.url), authority=Authority(folder), shown=False)
    agent.client = other.client = app.test_client()
    assert_problem(agent.post("/hosts/h1/certificate"), 409, "unencrypted")
    secure = {"base_url": "https://localhost"}
    assert_problem(other.post("/hosts/h1/certificate", **secure), 403, "speaks for host 'h2' only")
    signed = agent.post("/hosts/h1/certificate", **secure).get_json()
    assert signed["authority"] == (folder / "ca.pem").read_text()
    assert signed["certificate"].endswith(signed["authority"]) and "PRIVATE KEY" in signed["key"]
    assert app.test_client().get("/ca.pem").status_code == 404  # its own certificate is somebody else's
