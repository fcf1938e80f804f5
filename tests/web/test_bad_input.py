"""Bad input is refused with the right status and a sentence that names the value, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from tests.web.conftest import PASSWORD, PREFIX, Caller, Site, site_on

NAME_64 = "a" * 64


class Refusal:
    """One request that must be refused, and what the sentence must contain."""

    def __init__(self, method: str, path: str, body: Any, status: int, *words: str, field: str | None = None) -> None:
        self.method, self.path, self.body = method, path, body
        self.status, self.words, self.field = status, words, field


REFUSALS = {
    "a name over 63 characters": Refusal("POST", "/tenants", {"name": NAME_64}, 422, "64 characters", "63"),
    "a name that is not a DNS label": Refusal("POST", "/tenants", {"name": "Ac_me"}, 422, "'Ac_me'", "DNS label"),
    "a name with a slash": Refusal("POST", "/tenants", {"name": "a/b"}, 422, "'a/b'"),
    "a name with a NUL": Refusal("POST", "/tenants", {"name": "a\0b"}, 422, "NUL"),
    "a name that is taken": Refusal("POST", "/tenants", {"name": "acme"}, 409, "Tenant acme exists already"),
    "a network without a tenant": Refusal("POST", "/networks", {"name": "web"}, 422, "'web'", "TENANT/NAME"),
    "a network of an unknown tenant": Refusal(
        "POST", "/networks", {"name": "nobody/web"}, 404, "nobody", "warren tenant create nobody"
    ),
    "a network name that is taken": Refusal("POST", "/networks", {"name": "acme/web"}, 409, "acme/web exists already"),
    "a malformed subnet": Refusal(
        "POST", "/networks", {"name": "acme/x", "subnets": ["10.20.0.0/33"]}, 422, "10.20.0.0/33"
    ),
    "a subnet with host bits": Refusal(
        "POST", "/networks", {"name": "acme/x", "subnets": ["10.30.0.1/24"]}, 422, "10.30.0.1/24", "10.30.0.0/24"
    ),
    "a subnet that overlaps one of the tenant": Refusal(
        "POST", "/networks", {"name": "acme/x", "subnets": ["10.20.0.0/16"]}, 409, "10.20.0.0/16", "acme/web"
    ),
    "a subnet that overlaps one of another tenant": Refusal(
        "POST", "/networks", {"name": "globex/x", "subnets": ["10.20.0.0/24"]}, 409, "acme/web", "--private"
    ),
    "subnets of one network that overlap": Refusal(
        "POST", "/networks", {"name": "acme/x", "subnets": ["10.30.0.0/24", "10.30.0.0/25"]}, 422, "overlap"
    ),
    "a range outside of the subnet": Refusal(
        "POST",
        "/networks",
        {"name": "acme/x", "subnets": ["10.30.0.0/24"], "ip_ranges": ["10.31.0.0/25"]},
        *(422, "10.31.0.0/25 is outside of 10.30.0.0/24"),
        field="ip_ranges",
    ),
    "an IPv6 gateway in an IPv4 network": Refusal(
        "POST",
        "/networks",
        {"name": "acme/x", "subnets": ["10.30.0.0/24"], "gateways": ["fd00::1"]},
        *(422, "fd00::1 is IPv6, and the network has no IPv6 subnet"),
    ),
    "blocks in a network without them": Refusal(
        "POST",
        "/networks",
        {"name": "acme/x", "subnets": ["10.30.0.0/24"], "block_sizes": [26]},
        *(422, "use the plan per-host"),
    ),
    "a pool that overlaps another": Refusal(
        "POST", "/pools", {"name": "x", "cidr": "10.128.0.0/16"}, 409, "10.128.0.0/14 of pool default"
    ),
    "a pool that overlaps a network": Refusal(
        "POST", "/pools", {"name": "x", "cidr": "10.16.0.0/12"}, 409, "network acme/web", field="cidr"
    ),
    "a pool that is too small for its subnets": Refusal(
        "POST", "/pools", {"name": "x", "cidr": "10.99.0.0/25"}, 422, "use /25 to /30", field="prefix"
    ),
    "deleting a pool that is in use": Refusal("DELETE", "/pools/default", None, 409, "is in use by", "drain"),
    "an unknown pool": Refusal("GET", "/pools/none", None, 404, "no pool none"),
    "the only subnet of a network": Refusal(
        "DELETE", "/networks/acme/web/subnets/10.99.0.0/24", None, 404, "no subnet 10.99.0.0/24"
    ),
    "a reservation outside of the network": Refusal(
        "POST", "/networks/acme/web/reservations", {"name": "x", "addresses": ["10.99.0.1"]}, 422, "10.99.0.1"
    ),
    "a reservation of a moment that has passed": Refusal(
        "POST", "/networks/acme/web/reservations", {"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, 422, "past"
    ),
    "a token that ended before": Refusal(
        "POST",
        "/tokens",
        {"name": "x", "expires_at": "2020-01-01T00:00:00Z"},
        422,
        "2020-01-01",
        "past",
        "a later time",
    ),
    "a token that ends at no moment": Refusal(
        "POST", "/tokens", {"name": "x", "expires_at": "2099-01-01T00:00:00"}, 422, "2099-01-01", "time zone", "Z"
    ),
    "an unknown reservation": Refusal(
        "DELETE", "/networks/acme/web/reservations/none", None, 404, "no reservation for none"
    ),
    "a gateway outside of the subnet": Refusal(
        "POST",
        "/networks",
        {"name": "acme/x", "subnets": ["10.30.0.0/24"], "gateways": ["10.31.0.1"]},
        422,
        "10.31.0.1",
    ),
    "an MTU that no network can have": Refusal("POST", "/networks", {"name": "acme/x", "mtu": 60}, 422, "'mtu' is 60"),
    "an address that is none": Refusal(
        "POST", "/hosts", {"name": "h9", "address": "198.18.0.999"}, 422, "198.18.0.999"
    ),
    "an address of another host": Refusal("POST", "/hosts", {"name": "h9", "address": "198.18.0.11"}, 409, "host h1"),
    "a host name that is taken": Refusal("POST", "/hosts", {"name": "h1"}, 409, "Host h1 exists already"),
    "a label that is none": Refusal("POST", "/tenants", {"name": "x", "labels": {"-": "v"}}, 422, "'-'"),
    "a label value that is a number": Refusal(
        "POST", "/tenants", {"name": "x", "labels": {"app": 5}}, 422, "'labels.app' is 5", field="labels.app"
    ),
    "a field that is missing": Refusal("POST", "/tenants", {}, 422, "'name' is missing", field="name"),
    "a field that nobody knows": Refusal(
        "POST", "/tenants", {"name": "x", "lables": {}}, 422, "'lables'", "did you mean 'labels'?", field="lables"
    ),
    "a number where a name belongs": Refusal("POST", "/tenants", {"name": 5}, 422, "'name' is 5", "a string"),
    "a list where an object belongs": Refusal("POST", "/tenants", [], 422, "JSON object"),
    "text where a yes or no belongs": Refusal(
        "POST", "/tenants", {"name": "x", "track_all": "yes"}, 422, "'track_all' is 'yes'", "true or false"
    ),
    "an unknown tenant": Refusal(
        "GET", "/tenants/nobody", None, 404, "no tenant nobody", "warren tenant create nobody"
    ),
    "an unknown network": Refusal("GET", "/networks/acme/nothing", None, 404, "no network acme/nothing"),
    "an unknown endpoint": Refusal("GET", "/endpoints/acme/nothing", None, 404, "no endpoint acme/nothing"),
    "an unknown host": Refusal("GET", "/hosts/h9", None, 404, "no host h9", "warren host create h9"),
    "an unknown token": Refusal("DELETE", "/tokens/999", None, 404, "no token 999"),
    "a change of an unknown tenant": Refusal("PATCH", "/tenants/nobody", {"labels": {"a": "b"}}, 404, "nobody"),
    "deleting an unknown network": Refusal("DELETE", "/networks/acme/nothing", None, 404, "acme/nothing"),
    "deleting a tenant that is in use": Refusal("DELETE", "/tenants/acme", None, 409, "acme has endpoints", "acme/web"),
    "deleting a network that is in use": Refusal("DELETE", "/networks/acme/web", None, 409, "acme/web1"),
    "deleting a host that is in use": Refusal("DELETE", "/hosts/h1", None, 409, "acme/web1", "--force"),
    "a page that is too long": Refusal("GET", "/tenants?limit=1001", None, 422, "'limit' is '1001'", "at most 1000"),
    "a page of no items": Refusal("GET", "/tenants?limit=0", None, 422, "'limit' is '0'", "at least 1"),
    "a page length that is no number": Refusal("GET", "/tenants?limit=many", None, 422, "'limit' is 'many'"),
    "a cursor of another list": Refusal("GET", "/networks?cursor=acme", None, 422, "'acme'", "next"),
    "a filter that nobody knows": Refusal("GET", "/tenants?colour=red", None, 422, "'colour'", "known are"),
    "a filter that is given twice": Refusal("GET", "/networks?tenant=a&tenant=b", None, 422, "2 times"),
    "a label filter without a value": Refusal("GET", "/tenants?label=app", None, 422, "'app'", "label=app=web"),
    "a NUL in a path": Refusal("GET", "/tenants/a%00b", None, 400, "NUL"),
    "a NUL in a filter": Refusal("GET", "/networks?tenant=a%00b", None, 400, "NUL"),
    "a token id beyond all numbers": Refusal("DELETE", f"/tokens/{10**30}", None, 404, str(10**30)),
    "a revision beyond all numbers": Refusal("GET", f"/revisions/{10**30}", None, 404, str(10**30)),
    "a revision that is to come": Refusal("GET", "/revisions/999999", None, 404, "no revision 999999", "newest"),
    "a role that nobody has": Refusal("POST", "/tokens", {"name": "x", "role": "king"}, 422, "'king'"),
    "a token for an unknown host": Refusal("POST", "/tokens", {"name": "x", "role": "cni", "host": "h9"}, 404, "h9"),
    "a path that is not there": Refusal("GET", "/tenant", None, 404, "/api/v1/tenant", "openapi.json"),
    "a method that is not possible": Refusal("PUT", "/tenants", {}, 405, "PUT is not possible", "GET or POST"),
}

ATTACHMENT = {"network": "acme/web", "name": "web2", "netns": "/run/netns/web2"}
ATTACHMENTS_REFUSED = {
    "an unknown network": ({"network": "acme/nothing"}, 404, "no network acme/nothing"),
    "an unknown tenant": ({"network": "nobody/web"}, 404, "no tenant nobody"),
    "a network without a tenant": ({"network": "web"}, 422, "'web'"),
    "a name that is taken": ({"name": "web1"}, 409, "acme/web1 exists already"),
    "a name that is no DNS label": ({"name": "Web_2"}, 422, "'Web_2'"),
    "an address outside of the network": ({"addresses": ["10.99.0.1"]}, 422, "10.99.0.1"),
    "an IPv6 address in a network of IPv4": ({"addresses": ["fd00::9"]}, 422, "fd00::9"),
    "a reservation that is none": ({"reservation": "nothing"}, 404, "no reservation for nothing"),
    "an address that is none": ({"addresses": ["10.20.0"]}, 422, "10.20.0"),
    "the gateway's address": ({"addresses": ["10.20.0.1"]}, 409, "the gateway's"),
    "somebody's address": ({"addresses": ["10.20.0.2"]}, 409, "acme/web1"),
    "the subnet's own address": ({"addresses": ["10.20.0.0"]}, 422, "10.20.0.0"),
    "a MAC that is none": ({"mac": "zz:zz"}, 422, "zz:zz"),
    "a group's MAC": ({"mac": "01:00:5e:00:00:01"}, 422, "01:00:5e:00:00:01"),
    "the gateway's MAC": ({"mac": "02:77:61:72:72:6e"}, 422, "02:77:61:72:72:6e"),
    "a port that is none": ({"ports": [{"name": "http", "port": 70000}]}, 422, "70000"),
    "a protocol that is none": ({"ports": [{"name": "http", "port": 80, "protocol": "icmp"}]}, 422, "icmp"),
    "no network namespace": ({"netns": 5}, 422, "'netns' is 5"),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests here: what is refused leaves nothing behind, so they cannot disturb each other."""
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_template").fresh(tmp_path_factory.mktemp("bad_input"))
    else:
        url = request.getfixturevalue("postgres_database").fresh()
    yield from site_on(url)


@pytest.fixture(scope="module")
def agent(shared_site: Site) -> Caller:
    """The agent of a host h1 with endpoint acme/web1; globex is another tenant."""
    for tenant in ("acme", "globex"):
        shared_site.admin.made("/tenants", {"name": tenant})
    shared_site.admin.made("/networks", {"name": "acme/web", "subnets": ["10.20.0.0/24"]})
    agent = shared_site.enrolled("h1")
    assert agent.put("/hosts/h1/attachments/c1/eth0", ATTACHMENT | {"name": "web1"}).status_code == 201
    return agent


def assert_problem(answer: Any, status: int, *words: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    problem: dict[str, Any] = answer.get_json()
    assert problem["status"] == status
    assert problem["type"].startswith("/problems/")
    assert problem["title"]
    detail = problem["detail"]
    assert detail[0] == detail[0].upper() or not detail[0].isalpha()
    assert detail.endswith((".", "?"))
    for word in words:
        assert word in detail
    return problem


@pytest.mark.parametrize("what", REFUSALS)
def test_refused_and_nothing_changed(shared_site: Site, agent: Caller, unchanged: None, what: str) -> None:
    refusal = REFUSALS[what]
    problem = assert_problem(
        shared_site.admin(refusal.method, refusal.path, refusal.body), refusal.status, *refusal.words
    )
    assert problem["instance"] == PREFIX + unquote(refusal.path.partition("?")[0])
    if refusal.field is not None:
        assert refusal.field in [error["field"] for error in problem["errors"]]


@pytest.mark.parametrize(
    ("said", "value", "field"),
    [
        ({"subnets": ["x/24"]}, "'x/24'", "subnets"),
        ({"gateways": ["10.20.0.300"]}, "'10.20.0.300'", "gateways"),
        ({"ip_ranges": ["10.20.0.0/40"]}, "'10.20.0.0/40'", "ip_ranges"),
        ({"aux_addresses": {"router": "x"}}, "'x'", "aux_addresses"),
    ],
)
def test_an_engine_that_says_rubbish_of_a_network_that_is_there_is_told_so(
    shared_site: Site, agent: Caller, unchanged: None, said: Any, value: str, field: str
) -> None:
    problem = assert_problem(agent.put("/hosts/h1/networks/acme/web", said), 422, value)
    assert [error["field"] for error in problem["errors"]] == [field]


@pytest.mark.parametrize("what", ATTACHMENTS_REFUSED)
def test_an_attachment_is_refused_and_leaves_nothing(
    shared_site: Site, agent: Caller, unchanged: None, what: str
) -> None:
    change, status, word = ATTACHMENTS_REFUSED[what]
    assert_problem(agent.put("/hosts/h1/attachments/c2/eth0", ATTACHMENT | change), status, word)
    assert agent.get("/hosts/h1/attachments/c2/eth0").status_code == 404


def test_an_interface_attached_twice_with_other_content_is_refused(
    shared_site: Site, agent: Caller, unchanged: None
) -> None:
    answer = agent.put("/hosts/h1/attachments/c1/eth0", ATTACHMENT | {"name": "other"})
    assert_problem(answer, 409, "c1", "attached already", "detach it first")


REPORT = {"agent": {"version": "1", "pid": 1, "started_at": "now"}}
DEEP: Any = "x"
for _ in range(20):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ('"bridge": {"load": NaN}', "finite"),
        ('"bridge": {"load": [1e999]}', "finite"),
        ('"bridge": {"name": "\\u0000"}', "NUL"),
        (f'"bridge": {{"deep": {json.dumps(DEEP)}}}', "nested"),
        ('"ports": {"1": "sideways"}', "sideways"),
        ('"problems": "none"', "a list"),
    ],
)
def test_a_report_that_no_database_takes_is_refused(
    shared_site: Site, agent: Caller, unchanged: None, more: str, word: str
) -> None:
    text = json.dumps(REPORT)[:-1] + f", {more}}}"
    answer = agent("PUT", "/hosts/h1/report", data=text, content_type="application/json")
    assert_problem(answer, 422, word)


def test_a_report_with_a_backslash_before_what_looks_like_a_nul_is_kept(shared_site: Site, agent: Caller) -> None:
    assert agent.put("/hosts/h1/report", REPORT | {"problems": ["C:\\u0000"]}).status_code == 200


def test_a_subnet_that_is_full_is_refused(shared_site: Site, agent: Caller) -> None:
    shared_site.admin.made("/networks", {"name": "acme/tiny", "subnets": ["10.30.0.0/30"]})
    tiny = ATTACHMENT | {"network": "acme/tiny"}
    assert agent.put("/hosts/h1/attachments/c2/eth0", tiny).status_code == 201
    before = shared_site.revision()
    answer = agent.put("/hosts/h1/attachments/c3/eth0", tiny | {"name": "web3"})
    assert assert_problem(answer, 409, "10.30.0.0/30", "acme/tiny")["type"] == "/problems/exhausted"
    assert shared_site.revision() == before


def test_json_that_is_none_is_malformed(shared_site: Site, unchanged: None) -> None:
    for text in ("{", "tenant: acme", '{"name": "acme"} x', "\xff"):
        answer = shared_site.admin("POST", "/tenants", data=text, content_type="application/json")
        assert_problem(answer, 400, "not JSON")


def test_json_nested_without_end_is_malformed(shared_site: Site, unchanged: None) -> None:
    answer = shared_site.admin("POST", "/tenants", data="[" * 100_000, content_type="application/json")
    assert_problem(answer, 400, "not JSON")


def test_a_body_that_is_not_json_is_refused(shared_site: Site, unchanged: None) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = shared_site.admin("POST", "/tenants", data='{"name": "x"}', content_type=kind)
        assert_problem(answer, 415, kind.partition(";")[0], "application/json")


def test_a_body_without_a_type_is_refused(shared_site: Site, unchanged: None) -> None:
    answer = shared_site.admin("POST", "/tenants", data='{"name": "x"}')
    assert_problem(answer, 415, "application/json")


def test_a_body_over_a_mebibyte_is_refused(shared_site: Site, unchanged: None) -> None:
    body = json.dumps({"name": "x", "labels": {"a": "v" * 1024 * 1024}})
    answer = shared_site.admin("POST", "/tenants", data=body, content_type="application/json")
    assert_problem(answer, 413, "1048576", str(len(body)))


def test_a_fault_of_ours_says_where_to_look_and_nothing_else(
    shared_site: Site, unchanged: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("secret inside")

    monkeypatch.setattr("db.tenants.create", broken)
    problem = assert_problem(shared_site.admin.post("/tenants", {"name": "x"}), 500, "reference")
    assert "secret" not in problem["detail"]
    reference = problem["detail"].rpartition(" ")[2].rstrip(".")
    assert reference in caplog.text
    assert "secret inside" in caplog.text


@pytest.mark.parametrize("path", ["/revisions/{}", "/revisions/{}/names", "/revisions/{}?names_but=h1"])
def test_a_number_that_no_database_can_hold_is_as_good_as_one_that_nobody_has(any_site: Site, path: str) -> None:
    for number in (2**62, 10**30):
        assert_problem(any_site.admin.get(path.format(number)), 404, str(number))


@pytest.mark.parametrize("path", ["/tokens/{}", "/role-bindings/{}", "/publications/acme/web1/{}"])
def test_so_is_one_of_what_is_to_go(any_site: Site, path: str) -> None:
    for noun, name in (("tenants", "acme"), ("networks", "acme/web")):
        any_site.admin.made(f"/{noun}", {"name": name})
    agent = any_site.enrolled("h1")
    wish = {"network": "acme/web", "name": "web1", "netns": "/run/netns/web1"}
    assert agent.put("/hosts/h1/attachments/c1/eth0", wish).status_code == 201
    for number in (2**31, 2**62, 10**30):
        assert_problem(any_site.admin.delete(path.format(number)), 404)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_that_is_none_in_utc_is_refused(any_site: Site, moment: str) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    for field in ("since", "until"):
        assert_problem(any_site.admin.get(f"/audit?{field}={moment}"), 422, field, "years 1 to 9999")
    moment = moment.replace("%2B", "+")
    for path in ("/tokens", "/networks/acme/default/reservations"):
        answer = any_site.admin.post(path, {"name": "x", "expires_at": moment})
        assert_problem(answer, 422, "expires_at", "years 1 to 9999")


def test_a_number_longer_than_any_is_no_fault_of_ours(people: Site) -> None:
    browser, long = people.browser(), "1" * 5000
    browser.post("/login", data={"user": "admin", "password": PASSWORD})
    people.admin.made("/tenants", {"name": "acme"})
    assert browser.get("/tenants", headers={"Warren-Told": long}).status_code == 200
    answer = browser.post("/tenants/removed", data={"name": "acme", "version": long})
    assert answer.status_code == 422 and "select again" in answer.text


def test_what_only_looks_like_a_number_is_no_fault_of_ours(people: Site) -> None:
    browser = people.browser()
    browser.post("/login", data={"user": "admin", "password": PASSWORD})
    for path, status in (
        ("/trace?source=acme/a&destination=acme/b&port=--5", 422),
        ("/policies/matrix?protocol=tcp&port=00000165537", 422),
        ("/policies/matrix?protocol=tcp&port=00443", 200),
    ):
        assert browser.get(path).status_code == status, path
    answer = browser.post("/new/tenant", data={"name": "acme", "quota_networks": "--5"})
    assert answer.status_code == 422 and "quota" in answer.text
