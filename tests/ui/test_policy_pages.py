"""Pages of policies, the matrix and the trace: what they say is what the API says, and what is refused says why."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from controller.calc.decision import Decision
from db import denials
from db.denials import Seen
from db.engine import writing
from db.tables import utcnow
from tests.ui.visitor import Visitor, faults, member, words
from tests.web.conftest import Site
from web.api import asking

LOCK = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock, namespace: acme}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from:
    - podSelector: {matchLabels: {app: web}}
    ports:
    - {port: 5432}
"""
WALL = """\
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: wall}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  ingress:
  - {name: no-telnet, action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 23}}}]}
"""


@pytest.fixture
def shop(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Tenant acme with web1 and web2, db1 and db2; tenant beta with one endpoint, joined with acme."""
    monkeypatch.setattr(asking, "PATIENCE", 0.05)  # no agent is there to answer
    agent = site.enrolled("h1")
    for name, subnet in (("acme", "10.65.0.0/24"), ("beta", "10.66.0.0/24")):
        site.admin.made("/tenants", {"name": name})
        site.admin.made("/networks", {"name": f"{name}/web", "subnets": [subnet]})
    for name in ("acme/web1", "acme/web2", "acme/db1", "acme/db2", "beta/other"):
        tenant, _, short = name.partition("/")
        attached = {"network": f"{tenant}/web", "name": short, "netns": "/run/netns/x", "labels": {"app": short[:-1]}}
        assert agent.put(f"/hosts/h1/attachments/{short}/eth0", attached).status_code == 201
        labels = {"labels": {"app": short.rstrip("12")}}
        assert site.admin.patch(f"/endpoints/{name}", labels).status_code == 200
    assert site.admin.post("/tenants/beta/join", {"to": "acme"}).status_code == 200
    return site


def test_a_policy_is_written_previewed_applied_edited_and_deleted(shop: Site, boss: Visitor) -> None:
    assert "namespace: acme" in boss.open("/new/policy?tenant=acme")
    assert "EgressFirewall" in boss.open("/new/policy?like=Egress%20firewall")
    seen = words(boss.send("/new/policy", documents=LOCK).text)
    services = "tcp/0-5431, tcp/5433-65535, udp, sctp, icmp, other protocols"
    assert f"acme/web1 to acme/db1 {services} allowed → denied by policy acme/lock: no ingress rule allows" in seen
    assert shop.admin.get("/policies/acme/lock").status_code == 404
    assert "back=/policies/acme/lock" in boss.confirm("/new/policy", documents=LOCK)
    page = words(boss.open("/policies/acme/lock"))
    assert "About endpoints app=db. Its rule has matched no packet yet." in page
    assert "unused" in words(boss.open("/policies")) and "acme/lock" in boss.open("/policies?unused=on")
    boss.confirm("/policies/acme/lock/edit", documents=LOCK.replace("5432", "3306"))
    assert "3306" in json.dumps(shop.admin.get("/policies/acme/lock").get_json()["document"])
    answer = boss.send("/policies/acme/lock/edit", 422, documents=LOCK.replace("name: lock", "name: other"))
    assert "acme/lock alone" in faults(answer)["documents"]
    assert "denied → allowed" in words(boss.open("/policies/acme/lock/delete"))
    boss.send("/policies/acme/lock/delete", 303, step="apply")
    assert shop.admin.get("/policies/acme/lock").status_code == 404


def test_the_clusters_policies_have_their_own_pages(shop: Site, boss: Visitor) -> None:
    assert "back=/cluster/policies/wall" in boss.confirm("/new/policy", documents=WALL)
    page = words(boss.open("/cluster/policies/wall"))
    assert "admin, priority 10" in page and "no-telnet" in page
    boss.confirm("/cluster/policies/wall/edit", documents=WALL.replace("10", "20"))
    boss.send("/cluster/policies/wall/delete", 303, step="apply")
    assert shop.admin.get("/policies/wall").status_code == 404


def test_files_go_in_and_come_out(shop: Site, boss: Visitor) -> None:
    import io

    file = (io.BytesIO(f"{LOCK}---\n{WALL}".encode()), "all.yaml")
    data = {"documents": "ignored: true", "documents_file": file}
    answer = boss.client.post("/new/policy", data=data, headers=boss.headers)
    assert answer.status_code == 200 and "Nothing is changed yet" in answer.text
    boss.confirm("/new/policy", documents=f"{LOCK}---\n{WALL}")
    exported = boss.open("/policies.yaml")
    assert list(yaml.safe_load_all(exported)) == [yaml.safe_load(WALL), yaml.safe_load(LOCK)]
    assert list(yaml.safe_load_all(boss.open("/policies.yaml?tenant=acme"))) == [yaml.safe_load(LOCK)]
    assert list(yaml.safe_load_all(boss.open("/policies.yaml?name=wall"))) == [yaml.safe_load(WALL)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "line 1, column 5"),
        ("", "holds no document"),
        ("just words", "begin it with apiVersion"),
        (LOCK.replace("5432", "70000"), "spec.ingress[0].ports[0].port: 70000 is not a port"),
        (LOCK.replace("acme", "nobody"), "there is no tenant nobody"),
        (LOCK.replace("ports:", "portz:"), "portz"),
        ("a: &a [x]\nb: *a\n", "write out what they stand for"),
        ("[" * 5000, "nested too deep"),
    ],
)
def test_what_cannot_be_read_says_where(shop: Site, boss: Visitor, text: str, said: str) -> None:
    before = shop.revision()
    answer = boss.send("/new/policy", None, documents=text, step="apply")
    assert 400 <= answer.status_code < 500
    assert said in faults(answer)["documents"]
    assert shop.revision() == before


def test_an_edit_that_was_overtaken_is_refused(shop: Site, boss: Visitor) -> None:
    boss.confirm("/new/policy", documents=LOCK)
    (version,) = re.findall(r'name="version" value="(\d+)"', boss.open("/policies/acme/lock/edit"))
    shop.admin.post("/policies", {"documents": [yaml.safe_load(LOCK.replace("5432", "1"))]})
    boss.send("/policies/acme/lock/edit", 412, documents=LOCK.replace("5432", "2"), version=version, step="apply")


def cells(page: str) -> dict[tuple[str, str], str]:
    found = re.findall(r'<span class="unseen">(\S+) to (\S+): (\w+)</span>', page)
    return {(source, destination): verdict for source, destination, verdict in found}


def test_every_cell_says_what_explain_says(shop: Site, boss: Visitor) -> None:
    boss.confirm("/new/policy", documents=f"{LOCK}---\n{WALL}")
    page = boss.open("/policies/matrix?by=endpoint")
    found = cells(page)
    assert found["acme/web1", "acme/db1"] == found["beta/other", "acme/web1"] == "partly"
    assert found["beta/other", "acme/db2"] == found["acme/db1", "acme/db2"] == "denied"
    asked = 0
    for source, destination in found:
        why = boss.open(f"/policies/matrix?by=endpoint&row={source}&column={destination}")
        for line in why.partition('id="why"')[2].split("<tr>"):
            verdict, link = re.search(r"</svg>(allowed|denied)<", line), re.search(r'href="(/trace[^"]*)"', line)
            if verdict is None or link is None:
                continue
            query: dict[str, Any] = dict(parse_qsl(urlsplit(unescape(link[1])).query))
            body = {key: int(value) if value.isdecimal() else value for key, value in query.items()}
            assert (body["source"], body["destination"]) == (source, destination)
            assert shop.admin.post("/explain", body).get_json()["verdict"] == verdict[1], body
            asked += 1
    assert asked > 30


def test_the_matrix_groups_and_asks_about_one_service(shop: Site, boss: Visitor) -> None:
    boss.confirm("/new/policy", documents=LOCK)
    found = cells(boss.open("/policies/matrix?by=tenant&protocol=tcp&port=5432"))
    assert found == {("acme", "acme"): "partly", ("acme", "beta"): "allowed", ("beta", "acme"): "partly"}
    page = words(boss.open("/policies/matrix?by=label&label=app&tenants=acme&protocol=tcp&port=5432"))
    assert "acme app=web to acme app=db: allowed" in page and "acme app=db to acme app=db: denied" in page
    why = words(boss.open("/policies/matrix?by=tenant&protocol=icmp&row=acme&column=acme"))
    assert "by policy acme/lock: no ingress rule allows it" in why
    boss.open("/policies/matrix?protocol=tcp&port=much", 422)
    boss.open("/policies/matrix?tenants=nobody", 404)
    for asked, status, said in (
        ("by=label&label=tier&protocol=tcp&port=99999", 422, "'99999' is not a port; use 1 to 65535."),
        ("by=label&label=tier&tenants=nobody", 404, "There is no tenant nobody"),
    ):
        page = boss.open(f"/policies/matrix?{asked}", status)
        assert said in words(page) and 'class="rail"' in page
        assert 'value="tier"' in page and ('value="99999"' in page or 'value="nobody"' in page)
    for path, status, said in (
        ("/topology?tenant=nobody&group=network", 404, "There is no tenant nobody"),
        ("/topology?tenant=empty", 200, "Nothing to draw yet: tenant empty has no endpoint."),
    ):
        if status == 200:
            shop.admin.made("/tenants", {"name": "empty"})
        page = boss.open(path, status)
        assert said in words(page) and 'class="rail"' in page
        assert "no host and no endpoint" not in page and "tunnels between hosts" not in page


def test_a_trace_tells_where_it_ends_and_who_can_change_it(shop: Site, boss: Visitor) -> None:
    boss.confirm("/new/policy", documents=LOCK)
    page = words(boss.open("/trace?source=acme/web1&destination=acme/db1&protocol=tcp&port=22"))
    assert "acme/web1 to acme/db1, tcp/22: denied." in page
    assert "No, by policy acme/lock: no ingress rule allows it." in page
    assert "An administrator of acme can change policy acme/lock." in page
    assert "cannot be asked: its agent has not answered" in page
    page = words(boss.open("/trace?source=acme/web1&destination=acme/db1&protocol=tcp&port=5432"))
    assert "tcp/5432: allowed." in page
    shop.admin.post("/tenants/beta/isolate")
    page = words(boss.open("/trace?source=acme/web1&destination=beta/other&protocol=icmp"))
    assert "An administrator of the cluster can join acme and beta, or let them peer." in page
    for query, status in (
        ("source=acme/web1&destination=acme/nobody&port=1", 404),
        ("source=acme/web1&destination=acme/db1&port=x", 422),
        ("source=acme/web1&destination=acme/db1", 422),
        ("source=nonsense&destination=acme/db1&port=1", 422),
    ):
        boss.open(f"/trace?{query}", status)


def test_a_tenants_people_see_and_write_their_own(shop: Site, boss: Visitor) -> None:
    boss.confirm("/new/policy", documents=f"{LOCK}---\n{WALL}")
    eve = member(shop, "eve", beta="admin")
    assert "acme" not in eve.open("/policies") and "wall" not in eve.open("/policies")
    assert "acme" not in eve.open("/policies/matrix")
    assert "acme" not in eve.open("/policies.yaml") and "wall" not in eve.open("/policies.yaml")
    for path in ("/policies/acme/lock", "/policies/acme/lock/edit", "/policies/acme/lock/delete"):
        assert eve.open(path, 404).replace("acme", "nowhere") == eve.open(path.replace("acme", "nowhere"), 404)
    for path in ("/cluster/policies/wall", "/cluster/policies/wall/edit"):
        eve.open(path, 403)
    for name in ("acme", "nowhere"):
        answer = eve.send("/new/policy", 404, documents=LOCK.replace("acme", name), step="apply")
        assert "There is no tenant" in words(answer.text)
        assert eve.client.get(f"/policies/matrix?tenants={name}", headers=eve.headers).status_code == 404
        eve.open(f"/trace?source=beta/other&destination={name}/db1&port=1", 404)
    eve.send("/new/policy", 403, documents=WALL, step="apply")
    before = shop.admin.get("/policies").get_json()["items"]
    eve.confirm("/new/policy", documents=LOCK.replace("acme", "beta"))
    assert len(shop.admin.get("/policies").get_json()["items"]) == len(before) + 1


def turned(page: str) -> dict[tuple[str, str], tuple[str, str]]:
    """What was before and is then, in the cells that are hatched; of the others the same twice."""
    found = {}
    for kind, said in re.findall(r'<td class="cell ([^"]*)">.*?<span class="unseen">(.*?)</span>', page, re.DOTALL):
        ends = re.fullmatch(r"(.+) to (.+): (?:before (\w+), then )?(\w+)", said)
        if ends:
            assert bool(ends[3]) == ("differs" in kind.split())
            found[ends[1], ends[2]] = ends[3] or ends[4], ends[4]
    return found


def test_a_preview_hatches_what_changes_in_the_matrix(shop: Site, boss: Visitor) -> None:
    """What it says of before and after is what the matrix says then."""
    matrix = "/policies/matrix?by=endpoint"
    before = cells(boss.open(matrix))
    seen = turned(unescape(boss.send("/new/policy", documents=LOCK).text))
    changed = {ends for ends, (was, now) in seen.items() if was != now}
    # db1 and db2 may be called by web1 and web2 at tcp/5432 only, and by others not at all.
    everybody, called = ("acme/web1", "acme/web2", "acme/db1", "acme/db2", "beta/other"), ("acme/db1", "acme/db2")
    assert changed == {(one, other) for one in everybody for other in called if one != other}
    assert seen["acme/web1", "acme/db1"] == ("allowed", "partly") and seen["beta/other", "acme/db1"][1] == "denied"
    boss.confirm("/new/policy", documents=LOCK)
    after = cells(boss.open(matrix))
    assert {ends: (before[ends], after[ends]) for ends in seen if ends in before} == {
        ends: verdicts for ends, verdicts in seen.items() if ends in before
    }
    assert not turned(unescape(boss.send("/policies/acme/lock/edit", documents=LOCK).text)), "nothing changes"


def test_what_was_denied_over_ipv4_and_over_ipv6_is_told_apart(shop: Site, boss: Visitor) -> None:
    boss.confirm("/new/policy", documents=LOCK)
    now = utcnow()
    ends = (("10.65.0.2", "10.65.0.4"), ("fd00:65::2", "fd00:65::4"))
    with writing(shop.engine) as session:
        for source, destination in ends:
            made = Decision(
                *("h1", "deny", "ingress", ("acme/lock",), None, "", "acme/web1", source, "acme/db1", destination),
                *("tcp", 81, None, None),
            )
            denials.record(session, {made: Seen(1, now, now)})
    page = words(boss.open("/policies/acme/lock"))
    said = re.findall(r"acme/web1 acme/db1 (tcp/81(?: over IPv6)?) h1", page)
    assert sorted(said) == ["tcp/81", "tcp/81 over IPv6"]
