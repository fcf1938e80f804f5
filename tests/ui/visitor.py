"""Somebody who opens pages and sends forms without a script, and how what is answered is read."""

from __future__ import annotations

import re
from html import unescape

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from db import bindings, tokens, users
from db.changes import transaction
from tests.web.conftest import Site


class Visitor:
    def __init__(self, site: Site, token: str | None) -> None:
        self.client: FlaskClient = site.app.test_client()
        self.headers = {"Authorization": f"Bearer {token}", "Sec-Fetch-Site": "same-origin"}

    def open(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path, headers=self.headers)
        assert answer.status_code == status, answer.text
        return unescape(answer.text)

    def send(self, path: str, status: int | None = 200, **values: str) -> TestResponse:
        answer = self.client.post(path, data=values, headers=self.headers)
        assert status is None or answer.status_code == status, answer.text
        return answer

    def confirm(self, path: str, **values: str) -> str:
        """Look first, then do it; where that leads."""
        seen = self.send(path, **values)
        assert "Nothing is changed yet" in seen.text
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', seen.text))
        kept = {name: unescape(value) for name, value in fields.items()}
        assert {name: value.strip() for name, value in values.items() if value.strip()} == {
            name: value.strip() for name, value in kept.items() if name != "version"
        }
        return self.send(path, 303, step="apply", **kept).headers["Location"]


def words(text: str) -> str:
    """What is there to read."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


def faults(answer: TestResponse) -> dict[str, str]:
    """What stands beside each field."""
    found = {}
    for name, inside in re.findall(r'id="about-(\w+)">(.*?)</p>', answer.text, re.DOTALL):
        if 'class="fault"' in inside:
            found[name] = words(inside)
    return found


def member(site: Site, name: str, **roles: str) -> Visitor:
    """A user with roles in tenants."""
    with transaction(site.engine) as tx:
        user = users.create(tx, name)
        for tenant, role in roles.items():
            bindings.grant(tx, role, user=name, tenant=tenant)
        return Visitor(site, tokens.create(tx, "admin", name=name, user_id=user.id)[1])


@pytest.fixture
def boss(site: Site) -> Visitor:
    return Visitor(site, site.admin.token)


@pytest.fixture
def two(site: Site) -> Site:
    """Two tenants with a network each, and an endpoint in it."""
    agent = site.enrolled("h1")
    for tenant, subnet in (("acme", "10.65.0.0/24"), ("beta", "10.66.0.0/24")):
        site.admin.made("/tenants", {"name": tenant})
        site.admin.made("/networks", {"name": f"{tenant}/web", "subnets": [subnet]})
        attached = {"network": f"{tenant}/web", "name": f"{tenant}1", "netns": "/run/netns/x"}
        assert agent.put(f"/hosts/h1/attachments/{tenant}/eth0", attached).status_code == 201
    return site
