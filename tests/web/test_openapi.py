"""The API is what its own description says, whatever is sent to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from db import hosts, tenants, tokens, users
from db.changes import transaction
from tests.web.conftest import Json, Site, site_on
from web.api.schemas.policy import EXAMPLE
from web.app import create_app
from web.auth.access import rule_of

EXAMPLES_PER_OPERATION = 8
EXAMPLES_PER_ROLE = 3
PLAIN = {"Accept-Encoding": "identity"}  # without a server nobody unpacks; see test_packed
REAL = {
    "tenant": "acme",
    "network": "web",
    "endpoint": "web1",
    "host": "h1",
    "container_id": "c1",
    "ifname": "eth0",
    "policy": "db-lockdown",
    "name": "printer",
}


@pytest.fixture(scope="module")
def described(sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with one object of each noun, named as in the description's examples."""
    for site in site_on(sqlite_template.fresh(tmp_path_factory.mktemp("openapi"))):
        furnish(site)
        yield site


def furnish(site: Site) -> None:
    """Makes what is missing of these objects."""
    made = [site.admin.post("/tenants", {"name": "acme"}), site.admin.post("/networks", {"name": "acme/web"})]
    assert {answer.status_code for answer in made} <= {201, 409}
    assert site.admin.post("/policies", {"documents": [EXAMPLE]}).status_code == 200
    for scope in ("acme", "acme/web"):
        assert site.admin.put(f"/dns/records/{scope}/printer", {"addresses": ["192.0.2.9"]}).status_code in (200, 201)
    site.admin.delete("/hosts/h1?force=true")
    agent = site.enrolled("h1")
    agent.put("/hosts/h1/attachments/c1/eth0", {"network": "acme/web", "name": "web1", "netns": "/run/netns/web1"})


@pytest.fixture(scope="module")
def document(described: Site) -> Json:
    found: Json = described.browser().get("/openapi.json").get_json()
    return found


@pytest.fixture(scope="module")
def api(described: Site) -> Any:
    return schemathesis.openapi.from_wsgi("/openapi.json", described.app)


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_route_below_api_is_described(described: Site, document: Json) -> None:
    described_routes = {(path, method.upper()) for path, method, _ in operations(document)}
    for rule in described.app.url_map.iter_rules():
        if rule.rule.startswith("/api/"):
            path = rule.rule.replace("<int:", "<").replace("<", "{").replace(">", "}")
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                assert (path, method) in described_routes


def test_the_description_is_openapi_and_every_reference_leads_somewhere(document: Json) -> None:
    assert document["openapi"].startswith("3.1")
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "')[1:]}:
        at: Any = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]
    assert "securitySchemes" in document["components"]


def test_every_operation_says_who_may_call_it_and_what_may_go_wrong(described: Site, document: Json) -> None:
    by_id = {name.replace(".", "_"): view for name, view in described.app.view_functions.items()}
    for path, _, operation in operations(document):
        rule = rule_of(by_id[operation["operationId"]])
        assert rule is not None
        assert operation.get("x-roles") == (None if rule.roles is None else sorted(rule.roles)), path
        assert "500" in operation["responses"]
        assert operation["summary"]
        for parameter in operation["parameters"]:
            assert parameter.get("description"), (path, parameter["name"])
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)


def test_every_error_may_be_looked_up_by_its_type(document: Json) -> None:
    for status, response in document["components"]["responses"].items():
        assert set(response["content"]) == {"application/problem+json"}, status


def mostly_what_exists(case: schemathesis.Case) -> None:
    """Half of the names in paths are those of real objects, so that more is reached than 'not found'."""
    for name, value in case.path_parameters.items():
        if name in REAL and len(str(value)) % 2:
            case.path_parameters[name] = REAL[name]


def tried() -> Iterator[tuple[str, str, GenerationMode]]:
    """Each operation with right and, where anything can be wrong, with wrong input."""
    for path, method, operation in operations(create_app("sqlite:////nowhere/warren.db").spec):
        if path == "/api/v1/events":
            continue  # without an end; read in test_waiting
        yield method, path, GenerationMode.POSITIVE
        if operation["parameters"] or "requestBody" in operation:
            yield method, path, GenerationMode.NEGATIVE


@pytest.mark.parametrize(("method", "path", "mode"), list(tried()))
def test_the_api_does_what_it_says(described: Site, api: Any, method: str, path: str, mode: GenerationMode) -> None:
    cases = api[path][method.upper()].as_strategy(generation_mode=mode)

    @given(cases)
    @settings(
        max_examples=EXAMPLES_PER_OPERATION,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    def answers(case: schemathesis.Case) -> None:
        if mode is GenerationMode.POSITIVE:
            mostly_what_exists(case)
        # Waiting is tested elsewhere; here it would only take long.
        case.query.pop("wait", None)
        # A wrong token is one of the things that are tried.
        token = {} if "Authorization" in case.headers else {"Authorization": f"Bearer {described.admin.token}"}
        headers = PLAIN | token
        response = case.call(headers=headers)
        # What the shape allows, the state of the network may still forbid.
        case.validate_response(response, headers=headers, excluded_checks=[positive_data_acceptance])
        if response.status_code >= 400:
            assert response.headers["content-type"] == ["application/problem+json"]
            assert response.json()["detail"].endswith((".", "?"))

    answers()


@pytest.fixture(scope="module")
def members(described: Site) -> dict[str, str | None]:
    """A token by role, of people of the tenant of the examples and of nobody. Requests before this may have removed
    what these are about."""
    furnish(described)
    with transaction(described.engine) as tx:
        tenant = tenants.get(tx.session, "acme")
        found = {role: tokens.create(tx, role, name=role, tenant=tenant)[1] for role in ("admin", "operator", "viewer")}
        user = users.create(tx, "nobody")
        found["nothing"] = tokens.create(tx, "admin", name="nothing", user_id=user.id)[1]
        host = hosts.get(tx.session, "h1")
        found["cni of all"] = tokens.create(tx, "cni", name="cni of all")[1]
        found |= {kind: tokens.create(tx, kind, name=kind, host_id=host.id)[1] for kind in ("agent", "cni")}  # type: ignore[arg-type]
    enrol = described.admin.made("/hosts", {"name": "h9"})["enrol_token"]
    return found | {"viewer of all": described.viewer.token, "enrol": enrol}


ROLES = ("admin", "operator", "viewer", "viewer of all", "nothing", "agent", "cni", "cni of all", "enrol")


@pytest.mark.parametrize("role", ROLES)
def test_it_does_so_for_who_may_do_less(described: Site, api: Any, members: dict[str, str], role: str) -> None:
    """Every operation, a few times: no fault of ours, and no answer that the description has not."""
    headers = PLAIN | {"Authorization": f"Bearer {members[role]}"}
    assert described.browser().get("/api/v1/whoami", headers=headers).status_code in (200, 403), "it is somebody"
    for method, path, mode in tried():
        if mode is GenerationMode.NEGATIVE:
            continue

        @given(api[path][method.upper()].as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES_PER_ROLE,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        def answers(case: schemathesis.Case) -> None:
            mostly_what_exists(case)
            case.query.pop("wait", None)
            if "Authorization" not in case.headers:
                response = case.call(headers=headers)
                case.validate_response(response, headers=headers, excluded_checks=[positive_data_acceptance])

        answers()
