"""Every call that changes something takes `dry_run` and `wait`, which mean the same everywhere: computed from the
description, so that a new one is in here by itself, and fails until it is said below how to call it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from db.engine import reading
from db.tables import Base
from tests.web.conftest import Caller, Json, Site, site_on
from tests.web.test_matrix import PREFIX
from web.api.schemas.policy import EXAMPLE
from web.app import create_app

WITHOUT = {
    "explain_ask": "asks, and changes nothing",
    "agents_enrol": "gives a token for the one that it uses up",
    "agents_report": "tells what is",
    "agents_answer": "tells what was asked for",
    "agents_answer_dump": "tells what was asked for",
    "certificates_sign": "signs, and keeps nothing",
    # A machine's token is not to learn who reaches whom; what is refused changes nothing, and DELETE undoes PUT.
    "attachments_attach": "is for runtimes",
    "attachments_detach": "is for runtimes",
    "attachments_rename": "is for runtimes",
    "engine_networks_provide": "is for runtimes",
    "engine_networks_withdraw": "is for runtimes",
    "publications_replace": "is for runtimes",
}
"""What takes neither, and why."""

ADDRESSES = {"addresses": ["192.0.2.9"]}
CALLS: dict[str, tuple[str, Any]] = {
    "tenants_create": ("", {"name": "new"}),
    "tenants_update": ("/tenants/acme", {"labels": {"a": "b"}}),
    "tenants_delete": ("/tenants/empty", None),
    "isolation_join": ("/tenants/acme/join", {"to": "beta"}),
    "isolation_isolate": ("/tenants/gamma/isolate", {}),
    "isolation_make_global": ("/tenants/acme/global", {}),
    "isolation_peer": ("/tenants/acme/peer", {"with": "beta"}),
    "isolation_unpeer": ("/tenants/beta/peers/gamma", None),
    "isolation_set_cluster": ("", {"isolation": "flat"}),
    "policies_apply": ("", {"documents": [EXAMPLE]}),
    "policies_delete": ("/policies/acme/p", None),
    "policies_delete_of_cluster": ("/policies/c", None),
    "networks_create": ("", {"name": "acme/new"}),
    "networks_update": ("/networks/acme/web", {"labels": {"a": "b"}}),
    "networks_delete": ("/networks/empty/default", None),
    "networks_add_subnet": ("/networks/acme/web/subnets", {"subnet": "10.21.0.0/24"}),
    "networks_remove_subnet": ("/networks/acme/web/subnets/10.22.0.0/24", None),
    "pools_create": ("", {"name": "new", "cidr": "10.99.0.0/16", "prefix": 24}),
    "pools_update": ("/pools/mine", {"state": "draining"}),
    "pools_delete": ("/pools/mine", None),
    "pools_reserve": ("/networks/acme/web/reservations", {"name": "new"}),
    "pools_unreserve": ("/networks/acme/web/reservations/kept", None),
    "ipam_collect": ("", None),
    "endpoints_update": ("/endpoints/acme/web1", {"labels": {"a": "b"}}),
    "endpoints_delete": ("/endpoints/acme/web1", None),
    "publications_create": ("", {"endpoint": "acme/web1", "port": 81}),
    "publications_delete": ("/publications/acme/web1/1", None),
    "hosts_create": ("", {"name": "new"}),
    "hosts_update": ("/hosts/h1", {"labels": {"a": "b"}}),
    "hosts_delete": ("/hosts/h2", None),
    "hosts_token": ("/hosts/h2/token", {}),
    "dns_set_domain": ("", {"domain": "example.internal"}),
    "dns_put_of_tenant": ("/dns/records/acme/new", ADDRESSES),
    "dns_delete_of_tenant": ("/dns/records/acme/there", None),
    "dns_put_of_network": ("/dns/records/acme/web/new", ADDRESSES),
    "dns_delete_of_network": ("/dns/records/acme/web/there", None),
    "people_create_user": ("", {"name": "new", "password": "correct horse battery"}),
    "people_set_password": ("/users/ada/password", {"password": "another horse battery"}),
    "people_delete_user": ("/users/ada", None),
    "people_create_group": ("", {"name": "new"}),
    "people_delete_group": ("/groups/ops", None),
    "people_add_member": ("/groups/ops/members/bob", None),
    "people_remove_member": ("/groups/ops/members/ada", None),
    "people_grant": ("", {"user": "bob", "role": "viewer"}),
    "people_revoke": ("/role-bindings/1", None),
    "tokens_create": ("", {"name": "new", "role": "viewer"}),
    "tokens_delete": ("/tokens/2", None),
}
"""A call that succeeds and changes something, for each; an empty path has no names in it."""
CHANGES_NOTHING_HERE = {"ipam_collect"}


def operations() -> Iterator[tuple[str, str, str, Json]]:
    for path, methods in create_app("sqlite:////nowhere/warren.db").spec["paths"].items():
        for method, found in methods.items():
            if method != "get":
                yield found["operationId"], method.upper(), path.removeprefix(PREFIX), found


WRITES = {id: (method, path, found) for id, method, path, found in operations()}


@pytest.fixture(scope="module")
def template(sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A database with something to change of each kind, and its administrator's token."""
    folder = tmp_path_factory.mktemp("dry")
    for site in site_on(sqlite_template.fresh(folder)):
        admin = site.admin
        for name in ("acme", "beta", "gamma", "empty"):
            admin.made("/tenants", {"name": name})
        assert admin.post("/tenants/beta/peer", {"with": "gamma"}).status_code == 200
        assert admin.post("/tenants/gamma/global").status_code == 200
        admin.made("/networks", {"name": "acme/web", "subnets": ["10.20.0.0/24", "10.22.0.0/24"]})
        admin.made("/networks/acme/web/reservations", {"name": "kept"})
        admin.made("/pools", {"name": "mine", "cidr": "10.98.0.0/16", "prefix": 24})
        agent = site.enrolled("h1")
        admin.made("/hosts", {"name": "h2"})
        attach = {"network": "acme/web", "name": "web1", "netns": "/run/netns/web1", "addresses": ["10.20.0.9"]}
        assert agent.put("/hosts/h1/attachments/c1/eth0", attach).status_code == 201
        admin.made("/publications", {"endpoint": "acme/web1", "port": 80})
        for scope in ("acme", "acme/web"):
            assert admin.put(f"/dns/records/{scope}/there", ADDRESSES).status_code == 201
        network_policy = {**EXAMPLE, "metadata": {**EXAMPLE["metadata"], "name": "p"}}
        of_cluster = {
            "apiVersion": "policy.networking.k8s.io/v1alpha2",
            "kind": "ClusterNetworkPolicy",
            "metadata": {"name": "c"},
            "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}},
        }
        assert admin.post("/policies", {"documents": [network_policy, of_cluster]}).status_code == 200, "policies"
        for user in ("ada", "bob"):
            admin.made("/users", {"name": user, "password": "correct horse battery"})
        admin.made("/groups", {"name": "ops"})
        assert admin.put("/groups/ops/members/ada").status_code == 200
        admin.made("/role-bindings", {"user": "ada", "role": "viewer"})
        assert admin.token is not None
        with closing(sqlite3.connect(str(site.engine.url.database))) as database:
            database.execute("VACUUM INTO ?", (str(folder / "filled.db"),))
        yield folder / "filled.db", admin.token


@pytest.fixture
def copy(template: tuple[Path, str], tmp_path: Path) -> Iterator[tuple[Site, Caller]]:
    path = tmp_path / "warren.db"
    shutil.copy(template[0], path)
    app = create_app(f"sqlite:///{path}")
    caller = Caller(app.test_client(), template[1])
    site = Site(app, app.extensions["warren"].engine, caller, caller, caller)
    yield site, caller
    site.state().live.close()
    site.state().engine.dispose()


def content(engine: Engine) -> dict[str, list[Any]]:
    """Everything that is in the database."""
    with reading(engine) as session:
        tables = Base.metadata.sorted_tables
        return {table.name: sorted(map(repr, session.execute(select(table)).all())) for table in tables}


def test_all_writes_take_both_and_say_so_alike() -> None:
    for id, (_, path, found) in WRITES.items():
        taken = {one["name"]: one["description"] for one in found["parameters"]}
        if id in WITHOUT:
            assert not taken.keys() & {"dry_run", "wait"}, f"{id} is no exception any more"
            continue
        assert taken.get("dry_run", "").startswith("Change nothing"), f"{id} ({path}) takes no dry_run"
        assert taken.get("wait", "").startswith("Seconds to wait until"), f"{id} ({path}) takes no wait"
    assert WITHOUT.keys() <= WRITES.keys()


def test_every_write_is_tried() -> None:
    assert CALLS.keys() == WRITES.keys() - WITHOUT.keys()


@pytest.mark.parametrize("id", CALLS)
def test_a_dry_run_changes_nothing_and_the_same_call_without_it_does(copy: tuple[Site, Caller], id: str) -> None:
    site, caller = copy
    method, path, _ = WRITES[id]
    named, body = CALLS[id]
    at = named or path
    assert re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), at), "the path is of this operation"
    before = content(site.engine)
    told = caller(method, f"{at}?dry_run=true", body)
    assert told.status_code == 200, told.text
    assert told.get_json().get("dry_run") or id == "ipam_collect"
    assert "wrn_" not in told.text, "no secret of a thing that is not made"
    assert content(site.engine) == before
    done = caller(method, f"{at}?wait=0.001", body)
    assert done.status_code in (200, 201), done.text
    live = done.get_json()["live"]
    assert live["state"] in ("applied", "pending") and isinstance(live["hosts"], list)
    assert (content(site.engine) != before) == (id not in CHANGES_NOTHING_HERE)


@pytest.mark.parametrize("id", [id for id in CALLS if "{" in WRITES[id][1] and id not in ("dns_put_of_tenant",)])
def test_a_dry_run_is_refused_as_the_change_would_be(copy: tuple[Site, Caller], id: str) -> None:
    site, caller = copy
    method, path, _ = WRITES[id]
    at = re.sub(r"{(\w+)}", lambda name: {"address": "10.1.2.0", "prefix": "24"}.get(name[1], "7777"), path)
    before = content(site.engine)
    there, dry = caller(method, at, CALLS[id][1]), caller(method, f"{at}?dry_run=true", CALLS[id][1])
    assert (there.status_code, there.get_json()["detail"]) == (dry.status_code, dry.get_json()["detail"])
    assert dry.status_code == 404 and content(site.engine) == before
