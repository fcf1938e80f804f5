"""The API's description, `/openapi.json`: APIFlask writes it from the schemas; here it is made complete.

Who may call what, which errors to expect, which headers count: all of it read from the views themselves, so that it
cannot say something else than what is enforced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from apiflask import APIFlask
from flask import Blueprint, Response, current_app

from web.api.schemas.common import LABEL, SUBDOMAIN, ProblemDocument, Schema
from web.api.schemas.preview import Preview
from web.auth.access import public, rule_of
from web.problems import MIMETYPE, TITLES

Json = dict[str, Any]

DESCRIPTION = """\
Tenants, networks, policies, hosts and endpoints of a Warren installation.

Every change answers with the revision that includes it; `GET /revisions/{n}?wait=30` tells when it is live.
Lists come in pages: pass `next` as `cursor`. Errors are `application/problem+json`.
Changes honour `If-Match` with the ETag of the last answer; creates honour `Idempotency-Key`.
"""

SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "wrn_ID_SECRET"},
    "session": {"type": "apiKey", "in": "cookie", "name": "warren", "description": "After logging in on /login."},
}

IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "ETag of the version that was seen; another one meanwhile is refused with 412.",
    "schema": {"type": "string", "examples": ['"3"']},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A key of the sender's choice: sent again, the request is answered but not done again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
ETAG = {"ETag": {"description": "The object's version.", "schema": {"type": "string", "examples": ['"3"']}}}

TAGS = [
    {"name": "Tenants", "description": "Owners of networks, isolated from each other."},
    {"name": "Isolation", "description": "Who talks to whom: joins, peerings, global tenants, the flat mode."},
    {"name": "Policies", "description": "Which connections are allowed: documents of Kubernetes and OpenShift."},
    {"name": "Networks", "description": "One segment each: a VNI and subnets."},
    {
        "name": "Addresses",
        "description": "Pools of subnets, reservations, how full they are, and differences to repair.",
    },
    {"name": "Endpoints", "description": "One interface each of a container, pod or VM."},
    {"name": "Names", "description": "DNS: static records, Warren's domain, and who knows which names."},
    {"name": "Hosts", "description": "Machines with an agent and a bridge."},
    {"name": "Revisions", "description": "What changed, and where it is live."},
    {"name": "Access", "description": "Tokens, and what the API says of itself."},
    {"name": "Agents", "description": "What hosts' agents ask and tell."},
]

NAMES_IN_PATHS = {
    "tenant": "Name of the tenant.",
    "network": "Name of the network within its tenant.",
    "endpoint": "Name of the endpoint within its tenant.",
    "host": "Name of the host.",
    "peer": "Name of the other tenant.",
    "user": "Name of the user.",
    "group": "Name of the group.",
    "pool": "Name of the pool.",
    "reservation": "The name that the addresses are kept for.",
    "name": "Name of the record within its tenant or network.",
}
OTHERS_IN_PATHS: Json = {
    "address": {"description": "The subnet's first address, like 10.20.0.0.", "schema": {"maxLength": 39}},
    "prefix": {"description": "The subnet's prefix length.", "schema": {"minimum": 0, "maximum": 128}},
    "container_id": {"description": "The runtime's id of the container.", "schema": {"maxLength": 128}},
    "ifname": {"description": "The interface's name in the container, like eth0.", "schema": {"maxLength": 15}},
    "policy": {
        "description": "Name of the policy, within its tenant where that is named.",
        "schema": {"pattern": f"^{SUBDOMAIN}$", "maxLength": 253},
    },
    "revision": {"description": "A revision, as changes answer with.", "schema": {"minimum": 0, "maximum": 2**53}},
    "dump": {"description": "The question's id.", "schema": {"minimum": 1, "maximum": 2**53}},
    "trace": {"description": "The question's id.", "schema": {"minimum": 1, "maximum": 2**53}},
    "publication": {"description": "The published port's id.", "schema": {"minimum": 1, "maximum": 2**53}},
    "binding": {"description": "The role binding's id.", "schema": {"minimum": 1, "maximum": 2**31 - 1}},
    "token": {"description": "The token's id.", "schema": {"minimum": 1, "maximum": 2**31 - 1}},
}

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
@public
def document() -> Response:
    """This description."""
    return Response(_text(current_app._get_current_object()), mimetype="application/json")  # type: ignore[attr-defined]


@cache
def _text(app: APIFlask) -> str:
    return json.dumps(app.spec)


def register(app: APIFlask) -> None:
    app.register_blueprint(blueprint)
    app.config.update(
        OPENAPI_VERSION="3.1.0",
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        AUTO_AUTH_ERROR_RESPONSE=False,
        AUTO_404_RESPONSE=False,
        AUTO_SERVERS=False,
        AUTO_OPERATION_ID=True,
        SUCCESS_DESCRIPTION="Done",
    )
    app.title = "Warren"
    app.version = "1"
    app.description = DESCRIPTION
    app.servers = [{"url": "/"}]
    app.tags = TAGS
    app.license = {"name": "Apache-2.0", "identifier": "Apache-2.0"}

    @app.spec_processor
    def finish(spec: Any) -> Json:
        return complete(app, spec)


def complete(app: APIFlask, spec: Json) -> Json:
    spec = plain_names(spec)
    for model in (ProblemDocument, Preview):
        spec["components"]["schemas"] |= definitions(model.model_json_schema(ref_template=REF, schema_generator=Schema))
    spec["components"]["securitySchemes"] = SCHEMES
    spec["components"]["responses"] = {str(status): error(status) for status in sorted({s for s, _ in TITLES.values()})}
    for path, method, operation in operations(spec):
        rule = next(
            r for r in app.url_map.iter_rules() if _path(r.rule) == path and method.upper() in (r.methods or ())
        )
        describe(operation, method, app.view_functions[rule.endpoint], bool(rule.arguments))
        operation["operationId"] = rule.endpoint.replace(".", "_")
    return spec


def describe(operation: Json, method: str, view: Callable[..., Any], named: bool) -> None:
    """Roles, errors and headers of one operation."""
    rule = rule_of(view)
    body = "requestBody" in operation
    statuses = {400, 429, 500}
    if rule is not None and rule.roles is not None:
        operation["security"] = [{"token": []}] + ([{"session": []}] if rule.roles & PEOPLE else [])
        operation["x-roles"] = sorted(rule.roles)
        if rule.of_tenants:
            operation["x-tenant-by"] = rule.by
        statuses |= {401, 403}
    else:
        operation["security"] = []
    parameters: list[Json] = operation.setdefault("parameters", [])
    for parameter in parameters:
        describe_parameter(parameter)
    if named:
        statuses |= {404, 422}
    if body:
        operation["requestBody"]["required"] = True
        statuses |= {404, 413, 415, 422}
    if parameters:
        statuses |= {422}
    if method != "get":
        statuses |= {409, 422, 503}
    if getattr(view, "conditional", False):
        parameters.append(IF_MATCH)
        statuses |= {412}
    if getattr(view, "idempotent", False):
        parameters.append(IDEMPOTENCY_KEY)
    for status, response in operation["responses"].items():
        if not response.get("content", True):
            del response["content"]
        schema = response.get("content", {}).get("application/json", {}).get("schema", {})
        if status in ("200", "201") and schema.get("$ref", "").rpartition("/")[2] in VERSIONED:
            response["headers"] = ETAG
    if getattr(view, "previewable", False):
        told: Json = {"$ref": REF.format(model="Preview")}
        if "200" in operation["responses"]:
            content = operation["responses"]["200"]["content"]["application/json"]
            content["schema"] = {"anyOf": [content["schema"], told]}
        else:
            content = {"application/json": {"schema": told}}
            operation["responses"]["200"] = {"description": "What it would do, with `dry_run`", "content": content}
    for status in statuses:
        operation["responses"].setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
    operation["responses"] = dict(sorted(operation["responses"].items()))


def describe_parameter(parameter: Json) -> None:
    schema = parameter["schema"]
    # APIFlask leaves descriptions inside the schema, where few readers show them.
    if "description" in schema:
        parameter["description"] = schema.pop("description")
    if schema.get("default", 0) is None:
        del schema["default"]
    if parameter["in"] == "path":
        name = parameter["name"]
        if name in NAMES_IN_PATHS:
            parameter["description"] = NAMES_IN_PATHS[name]
            schema |= {"pattern": f"^{LABEL}$", "maxLength": 63}
        else:
            parameter["description"] = OTHERS_IN_PATHS[name]["description"]
            schema |= OTHERS_IN_PATHS[name]["schema"]


PEOPLE = frozenset({"admin", "viewer", "member"})
VERSIONED = frozenset(
    {
        kind + name
        for kind in ("", "Changed")
        for name in ("Tenant", "Network", "Endpoint", "Host", "NewHost", "Cluster", "Policy", "Pool", "Record", "Dns")
    }
)
REF = "#/components/schemas/{model}"


def operations(spec: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def error(status: int) -> Json:
    titles = [(slug, title) for slug, (its, title) in TITLES.items() if its == status]
    return {
        "description": "; ".join(title for _, title in titles),
        "content": {MIMETYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
    }


def definitions(schema: Json) -> Json:
    """A model's schema and those it uses, by name."""
    inner = schema.pop("$defs", {})
    return {schema["title"]: schema, **inner}


def plain_names(spec: Json) -> Json:
    """APIFlask files a model that another one uses as `Outer.Inner`; here it has one entry under its own name."""
    schemas: Json = spec["components"]["schemas"]
    for name in [name for name in schemas if "." in name]:
        schemas.setdefault(name.rpartition(".")[2], schemas[name])
        del schemas[name]
    return spec


def _path(rule: str) -> str:
    return re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule)
