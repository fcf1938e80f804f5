"""What a tenant's people may not open is no link, and which hosts there are is not told to who asks about one."""

from __future__ import annotations

import pytest

from db import users
from db.changes import transaction
from tests.web.conftest import PASSWORD, Json
from tests.web.test_bad_input import assert_problem
from tests.web.test_tenants_people import People, acme  # noqa: F401 - the fixture
from web.api import asking


def test_a_host_without_endpoints_of_theirs_is_not_there_to_be_asked_about(acme: People) -> None:  # noqa: F811
    acme.site.enrolled("h2", "198.18.0.12")
    at = f"/revisions/{acme.site.revision()}?host="
    for caller in (acme.boss, acme.reader):
        assert caller.get(f"{at}h1").status_code == 200
        there, not_there = (assert_problem(caller.get(at + host), 404) for host in ("h2", "h9"))
        assert str(there).replace("h2", "h9") == str(not_there)
    assert acme.site.admin.get(f"{at}h2").status_code == 200


def test_what_they_may_not_open_is_no_link(acme: People, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(asking, "PATIENCE", 0.0)
    guard: Json = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy"}
    rule: Json = {"action": "Deny", "from": [{"namespaces": {}}]}
    spec: Json = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "ingress": [rule]}
    guard |= {"metadata": {"name": "guard"}, "spec": spec}
    assert acme.site.admin.post("/policies", {"documents": [guard]}).status_code == 200
    attached = {"network": "acme/web", "name": "web2", "netns": "/run/netns/y"}
    assert acme.site.admin.put("/hosts/h1/attachments/two/eth0", attached).status_code == 201
    with transaction(acme.site.engine) as tx:
        users.create(tx, "root", PASSWORD, role="viewer")
    for name, links in (("root", True), ("reader", False)):
        browser = acme.site.browser()
        assert browser.post("/login", data={"user": name, "password": PASSWORD}).status_code == 303
        for path in ("/endpoints/acme/web1", "/trace?source=acme/web2&destination=acme/web1&protocol=tcp&port=80"):
            page = browser.get(path).text
            assert "guard" in page and ('href="/cluster/policies/guard"' in page) is links, (name, path)
