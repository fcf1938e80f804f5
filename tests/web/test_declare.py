"""`warren apply` and `export`, and the commands of users, roles and the audit log, against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from client.__main__ import run
from db import tokens, users
from db.changes import transaction
from db.engine import create_engine
from tests.db import steps
from tests.web.servers import serving

ALL = """
apiVersion: warren/v1
kind: Tenant
metadata: {name: acme, labels: {team: web}}
spec: {quota: {networks: 5}}
---
apiVersion: warren/v1
kind: Tenant
metadata: {name: beta}
---
apiVersion: warren/v1
kind: Network
metadata: {name: default, namespace: acme}
spec: {subnets: [10.20.0.0/24], gateways: [10.20.0.254]}
---
apiVersion: warren/v1
kind: Network
metadata: {name: auto, namespace: acme, labels: {tier: front}}
spec: {mtu: 1400}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: acme}
spec: {podSelector: {matchLabels: {app: db}}}
---
apiVersion: warren/v1
kind: Peering
spec: {tenants: [beta, acme]}
---
apiVersion: warren/v1
kind: User
metadata: {name: ada}
---
apiVersion: warren/v1
kind: RoleBinding
spec: {role: operator, user: ada, tenant: acme}
"""

Cli = Callable[..., str]


@pytest.fixture
def cli(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Cli]:
    """Run a command as an administrator; what it printed."""
    engine = create_engine(sqlite_url)
    with transaction(engine) as tx:
        boss = users.create(tx, "boss", role="admin")
        token = tokens.create(tx, "admin", name="boss", user_id=boss.id)[1]
    engine.dispose()
    with serving(sqlite_url, tmp_path) as server:
        monkeypatch.setenv("WARREN_API", server.url)
        monkeypatch.setenv("WARREN_TOKEN", token)

        def typed(*words: str, code: int = 0) -> str:
            assert run(list(words)) == code, capsys.readouterr()
            said = capsys.readouterr()
            return said.out + said.err

        yield typed


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    file = tmp_path / "all.yaml"
    file.write_text(ALL)
    return file


def test_what_a_file_says_comes_to_be_and_then_nothing_is_left_to_do(cli: Cli, everything: Path) -> None:
    plan = cli("apply", "-f", str(everything), "--dry-run")
    assert plan.splitlines() == [
        *("+ Tenant acme", "+ Tenant beta", "+ Network acme/auto", "+ Network acme/default"),
        *("+ NetworkPolicy acme/db", "+ Peering acme with beta", "+ User ada"),
        *("+ RoleBinding user ada in tenant acme", "8 to do. Nothing was changed."),
    ]
    assert json.loads(cli("tenant", "list", "-o", "json"))["items"] == []
    assert cli("apply", "-f", str(everything), "--no-wait").endswith("8 done.\n")
    assert cli("apply", "-f", str(everything), "--no-wait") == "Everything is as the files say.\n"
    acme = json.loads(cli("network", "show", "acme/default", "-o", "json"))
    assert acme["subnets"][0]["gateway"] == "10.20.0.254"
    assert json.loads(cli("tenant", "show", "acme", "-o", "json"))["peers"] == ["beta"]


def test_what_is_exported_is_what_there_is(cli: Cli, everything: Path, tmp_path: Path) -> None:
    cli("apply", "-f", str(everything), "--no-wait")
    exported = tmp_path / "exported.yaml"
    exported.write_text(cli("export"))
    assert cli("apply", "-f", str(exported), "--prune", "--dry-run") == "Everything is as the files say.\n"
    documents = list(yaml.safe_load_all(exported.read_text()))
    named = {(one["kind"], one["metadata"].get("name")): one for one in documents}
    auto = json.loads(cli("network", "show", "acme/auto", "-o", "json"))["subnets"]
    assert {one["pool"] for one in auto} == {"default", "default6"}
    spec = {"subnets": [one["cidr"] for one in auto], "gateways": [one["gateway"] for one in auto], "mtu": 1400}
    assert named["Network", "auto"]["spec"] == spec
    assert {one["metadata"].get("namespace") for one in documents if one["kind"] == "Network"} == {"acme", "beta"}


def test_a_tenants_people_export_what_they_may_read(cli: Cli, everything: Path) -> None:
    cli("apply", "-f", str(everything), "--no-wait")
    token = json.loads(cli("token", "create", "ci", "--role", "viewer", "--tenant", "acme", "-o", "json"))["token"]
    said = cli("--token", token, "export")
    assert "Left out, because you may not read them: Pool" in said
    assert "name: acme" in said and "beta" not in said.replace("- beta", "")


PLANNED = """
apiVersion: warren/v1
kind: Tenant
metadata: {name: acme}
---
apiVersion: warren/v1
kind: Network
metadata: {name: web, namespace: acme}
spec:
  subnets: ["FD00:20::/64", 10.20.0.0/24]
  gateways: [10.20.0.9]
  ipRanges: [10.20.0.128/25]
  excludes: [10.20.0.10-10.20.0.20]
  auxAddresses: {printer: 10.20.0.30}
  plan: per-host
  blockSizes: [28]
  strict: true
  broadcast: true
  transport: geneve
"""


def test_an_address_plan_and_a_transport_are_in_files(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "planned.yaml"
    file.write_text(PLANNED)
    cli("apply", "-f", str(file), "--no-wait")
    assert cli("apply", "-f", str(file), "--no-wait") == "Everything is as the files say.\n"
    exported = cli("export")
    for one in yaml.safe_load_all(exported):
        if one["kind"] == "Network" and one["metadata"]["name"] == "web":
            spec = one["spec"]
    assert (spec["plan"], spec["strict"], spec["broadcast"], spec["transport"]) == ("per-host", True, True, "geneve")
    assert spec["auxAddresses"] == {"printer": "10.20.0.30"} and 28 in spec["blockSizes"]
    again = tmp_path / "exported.yaml"
    again.write_text(exported)
    assert cli("apply", "-f", str(again), "--prune", "--dry-run") == "Everything is as the files say.\n"
    cli("tenant", "delete", "acme", "--no-wait")
    cli("apply", "-f", str(again), "--no-wait")
    assert cli("apply", "-f", str(file), "--no-wait") == "Everything is as the files say.\n"
    file.write_text(PLANNED.replace("geneve", "gre"))
    said = cli("apply", "-f", str(file), "--no-wait").splitlines()
    assert said == ["~ Network acme/web", "    transport: geneve -> gre", "1 done."]


def test_a_change_is_shown_field_by_field_and_made(cli: Cli, everything: Path) -> None:
    cli("apply", "-f", str(everything), "--no-wait")
    changed = ALL.replace("{team: web}", "{team: shop}").replace("role: operator", "role: admin")
    everything.write_text(changed.replace("matchLabels: {app: db}", "matchLabels: {app: sql}"))
    said = cli("apply", "-f", str(everything), "--no-wait").splitlines()
    assert said == [
        *("~ Tenant acme", "    labels: {'team': 'web'} -> {'team': 'shop'}"),
        *("~ NetworkPolicy acme/db", "    its document"),
        *("~ RoleBinding user ada in tenant acme", "    role: operator -> admin", "3 done."),
    ]
    labels = json.loads(cli("tenant", "show", "acme", "-o", "json"))["labels"]
    assert labels["team"] == "shop"


def test_pruning_removes_what_is_not_named_of_the_kinds_that_are(cli: Cli, everything: Path, tmp_path: Path) -> None:
    cli("apply", "-f", str(everything), "--no-wait")
    only = tmp_path / "only.yaml"
    only.write_text("apiVersion: warren/v1\nkind: Tenant\nmetadata: {name: acme}\n")
    assert cli("apply", "-f", str(only), "--no-wait") == "Everything is as the files say.\n"
    assert cli("apply", "-f", str(only), "--prune", "--no-wait").splitlines() == ["- Tenant beta", "1 done."]
    assert [one["name"] for one in json.loads(cli("user", "list", "-o", "json"))["items"]] == ["ada", "boss"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("kind: Tenant\nmetadata: {name: acme}\nspec: {colour: red}", "Tenant has no field 'colour'"),
        ("kind: Tenat\nmetadata: {name: acme}", "no kind 'Tenat'"),
        ("kind: Peering\nspec: {tenants: [acme]}", "a Peering has two tenants"),
        ("kind: Network\nmetadata: {name: web}", "needs metadata.name and metadata.namespace"),
        ("kind: Tenant\nmetadata: {name: a}\n---\napiVersion: warren/v1\nkind: Tenant\nmetadata: {name: a}", "twice"),
    ],
)
def test_a_file_that_is_wrong_changes_nothing(cli: Cli, tmp_path: Path, document: str, said: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(f"apiVersion: warren/v1\n{document}\n")
    assert said in cli("apply", "-f", str(file), code=1)


WRONG = """apiVersion: warren/v1
kind: Network
metadata: {name: web, namespace: acme}
spec: {subnets: [10.20.0.300/24]}
---
apiVersion: warren/v1
kind: Tenant
metadata: {name: Bad_T}
---
apiVersion: warren/v1
kind: Tenant
metadata: {name: new}
spec: {quota: {networkz: 5}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: new2}
spec: {podSelector: {}, ingres: []}
---
apiVersion: warren/v1
kind: Network
metadata: {name: big, namespace: new2}
spec: {mtu: 99999}
---
apiVersion: warren/v1
kind: Network
metadata: {name: lost, namespace: nowhere}
---
apiVersion: warren/v1
kind: Record
metadata: {name: printer, namespace: new2}
spec: {addresses: [10.20.0.300]}
---
apiVersion: warren/v1
kind: Tenant
metadata: {name: new2}
---
apiVersion: warren/v1
kind: Network
metadata: {name: right, namespace: new2}
spec: {subnets: [10.77.0.0/24]}
---
apiVersion: warren/v1
kind: Reservation
metadata: {name: db1, namespace: new2}
spec: {network: right, addresses: [10.77.0.9]}
"""


def test_a_dry_run_tells_all_that_the_api_would_refuse_and_where_it_stands(cli: Cli, tmp_path: Path) -> None:
    cli("tenant", "create", "acme", "--no-wait")
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG)
    said = cli("apply", "-f", str(file), "--dry-run", code=1)
    assert "+ Network new2/right" in said and "10 to do. Nothing was changed." in said
    told = said.partition("7 would be refused:\n")[2].splitlines()
    expected = [
        ("line 1: Network acme/web: ", "10.20.0.300"),
        ("line 6: Tenant Bad_T: ", "name"),
        ("line 10: Tenant new: ", "networkz"),
        ("line 15: NetworkPolicy new2/db: ", "ingres"),
        ("line 20: Network new2/big: ", "mtu"),
        ("line 25: Network nowhere/lost: ", "no tenant nowhere"),
        ("line 29: Record new2/printer: ", "10.20.0.300"),
    ]
    for place, part in expected:
        (line,) = [line for line in told if f"{file}, {place}" in line]
        assert part in line.partition(place)[2].lower(), line
    assert len(told) == len(expected), said
    assert [one["name"] for one in json.loads(cli("tenant", "list", "-o", "json"))["items"]] == ["acme"]


def test_a_dry_run_tells_who_would_reach_whom_and_what_may_not_go(cli: Cli, sqlite_url: str, tmp_path: Path) -> None:
    engine = create_engine(sqlite_url)
    host = steps.host(engine)
    for number, tenant in enumerate(("acme", "red")):
        steps.tenant(engine, tenant)
        steps.network(engine, f"{tenant}/web", f"10.{20 + number}.0.0/24")
        steps.attach(engine, host, f"{tenant}1", f"{tenant}/web")
    engine.dispose()
    file = tmp_path / "only.yaml"
    file.write_text("apiVersion: warren/v1\nkind: Tenant\nmetadata: {name: acme}\n")
    said = cli("apply", "-f", str(file), "--prune", "--dry-run", code=1)
    assert (
        said.startswith("- Tenant red\n")
        and "1 would be refused:\nTenant red: " in said
        and "endpoints in red/web" in said
    )
    file.write_text("apiVersion: warren/v1\nkind: Peering\nspec: {tenants: [acme, red]}\n")
    said = cli("apply", "-f", str(file), "--dry-run")
    assert "+ Peering acme with red\n    " in said and "denied -> allowed" in said


def test_what_cannot_change_is_refused_before_anything_is_done(cli: Cli, everything: Path) -> None:
    cli("apply", "-f", str(everything), "--no-wait")
    everything.write_text(ALL.replace("10.20.0.", "10.21.0.").replace("{team: web}", "{team: shop}"))
    assert "Network acme/default: subnets cannot be changed" in cli("apply", "-f", str(everything), code=1)
    assert json.loads(cli("tenant", "show", "acme", "-o", "json"))["labels"]["team"] == "web"


def test_users_roles_and_the_audit_log_by_command(cli: Cli) -> None:
    cli("tenant", "create", "acme", "--no-wait")
    assert "User ada created" in cli("user", "create", "ada", "--password", "correct horse")
    cli("group", "create", "team")
    cli("group", "add", "team", "ada")
    assert "User ada is operator in tenant acme." in cli(
        "role", "grant", "operator", "--user", "ada", "--tenant", "acme"
    )
    cli("role", "grant", "viewer", "--group", "team")
    assert json.loads(cli("user", "get", "ada", "-o", "json"))["role"] == "viewer"
    assert "acme=operator" in cli("user", "list")
    assert "ada has no role in the cluster" in cli("role", "revoke", "--user", "ada", code=1)
    cli("role", "revoke", "--user", "ada", "--tenant", "acme")
    cli("user", "passwd", "ada", "--password", "another horse")
    cli("tenant", "quota", "acme", "networks=3", "--no-wait")
    listed = cli("audit", "list")
    assert "binding operator ada" in listed and "quota: - -> networks=3" in listed and "token boss" in listed
    exported = [json.loads(line) for line in cli("audit", "export").splitlines()]
    assert [one["number"] for one in exported] == list(range(1, len(exported) + 1))
    assert f"{len(exported)} entries, the last with hash {exported[-1]['hash']}." in cli("audit", "verify")
    cli("user", "delete", "ada")
    cli("group", "delete", "team")
