"""What the search finds besides names of things: aliases, records, policies; and only what the asker may see."""

from __future__ import annotations

import pytest

from tests.ui.visitor import Visitor, member, words
from tests.web.conftest import Site


@pytest.fixture
def named(two: Site) -> Site:
    """In both tenants a container that its runtime calls `payroll`, a record of that name and a policy."""
    agent = two.enrolled("h2", "198.18.0.12")
    for tenant in ("acme", "beta"):
        attached = {"network": f"{tenant}/web", "name": f"docker-{tenant}", "netns": "/run/netns/x"}
        attached |= {"aliases": ["payroll"]}  # type: ignore[dict-item]
        assert agent.put(f"/hosts/h2/attachments/d{tenant}/eth0", attached).status_code == 201
        record = {"addresses": ["198.18.7.7"]}
        assert two.admin.put(f"/dns/records/{tenant}/payroll-db", record).status_code == 201
        policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}}
        policy |= {"metadata": {"name": "payroll-only", "namespace": tenant}}
        assert two.admin.post("/policies", {"documents": [policy]}).status_code == 200
    return two


def test_the_search_finds_aliases_records_and_policies(named: Site, boss: Visitor) -> None:
    page = boss.open("/search?q=payroll")
    assert "2 endpoints, 2 DNS records, 2 policies." in words(page)
    for tenant in ("acme", "beta"):
        assert f"{tenant}/docker-{tenant} payroll" in words(page)
        assert f"payroll-db.{tenant}.warren.internal" in page
        assert f'href="/policies/{tenant}/payroll-only"' in page
    assert "1 policy" in words(boss.open("/search?q=acme/payroll"))
    assert "acme/docker-acme payroll" in words(boss.open("/endpoints"))


def test_the_search_tells_nothing_of_other_tenants(named: Site) -> None:
    page = member(named, "eve", acme="viewer").open("/search?q=payroll")
    assert "1 endpoint, 1 DNS record, 1 policy." in words(page)
    assert "beta" not in page
