"""Pages of policies: what there is and what it did, an editor that tells what would change, and files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click
import yaml
from flask import Response, request
from sqlalchemy.orm import Session

from client import manifests
from db import counters, denials, policies
from db.changes import Transaction
from web import present
from web.api import policies as api_policies
from web.api.replies import Json
from web.api.schemas.policy import PolicyDocuments
from web.auth.access import CHANGERS, READERS, SIGHT, TENANT_ADMINS, TENANT_READERS, allow, sight
from web.state import reading
from web.ui import words
from web.ui.forms import BOTH, Change, Field, Values, Work, body, carried_out, invalid, seen_version
from web.ui.frame import blueprint, render

PER_PAGE = 100
DENIALS = 20
MOST_EXPORTED = 1000
CODE = Field(
    "documents", "Documents", "code", "YAML or JSON as Kubernetes has it; several are parted by a line of ---."
)
EXAMPLES = {
    "NetworkPolicy": """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: NAME, namespace: TENANT}
spec:
  podSelector:
    matchLabels: {app: db}
  ingress:
  - from:
    - podSelector:
        matchLabels: {app: web}
    ports:
    - {protocol: TCP, port: 5432}
""",
    "Admin tier": """\
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: NAME}
spec:
  tier: Admin
  priority: 10
  subject:
    namespaces: {}
  egress:
  - name: no-metadata-service
    action: Deny
    to:
    - networks: [169.254.0.0/16]
""",
    "Baseline tier": """\
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: NAME}
spec:
  tier: Baseline
  priority: 100
  subject:
    namespaces: {}
  ingress:
  - name: closed-by-default
    action: Deny
    from:
    - namespaces: {}
""",
    "Egress firewall": """\
apiVersion: k8s.ovn.org/v1
kind: EgressFirewall
metadata: {name: default, namespace: TENANT}
spec:
  egress:
  - {type: Allow, to: {dnsName: www.example.org}}
  - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
""",
}


@blueprint.get("/policies", endpoint="policies")
@allow(TENANT_READERS, by=SIGHT)
def listed() -> str:
    """What there is, what it did, and which rules never did anything."""
    tenant, unused = request.args.get("tenant", "").strip() or None, bool(request.args.get("unused"))
    with reading() as session:
        page = policies.find(session, tenant=tenant, cursor=request.args.get("cursor"), limit=PER_PAGE)
        counts = counters.find(session, tenant=tenant, cursor=request.args.get("cursor"), limit=PER_PAGE).items
        items = [item | _hits(item["name"], counts) for item in present.policies(session, page.items)]
    if unused:
        items = [item for item in items if item["unused"]]
    lead = "Who may open which connection, within what isolation allows. The cluster's policies are asked first."
    facts = {"tenant": tenant or "", "unused": unused, "lead": lead, "items": items, "next": page.next}
    return render("policies.html", "Policies", **facts)


def _hits(name: str, counts: Sequence[counters.RuleCount]) -> Json:
    own = [rule for rule in counts if rule.policy == name]
    hits = [rule.last_hit for rule in own if rule.last_hit]
    return {
        "packets": sum(rule.packets for rule in own),
        "last_hit": max(hits) if hits else None,
        "rules": len(own),
        "unused": sum(not rule.packets for rule in own),
    }


@blueprint.get("/policies/<tenant>/<policy>")
@allow(TENANT_READERS)
def policy(tenant: str, policy: str) -> str:
    return _shown(f"{tenant}/{policy}", f"/policies/{tenant}/{policy}", tenant)


@blueprint.get("/cluster/policies/<policy>")
@allow(READERS)
def cluster_policy(policy: str) -> str:
    return _shown(policy, f"/cluster/policies/{policy}", None)


def _shown(name: str, at: str, tenant: str | None) -> str:
    with reading() as session:
        item = present.policy(policies.get(session, name))
        counted = counters.find(session, policy=name).items
        denied = present.denials(denials.find(session, policy=name, limit=DENIALS, seen=sight()))
    rules = [rule | {"text": _rule(item["document"], rule)} for rule in present.rules(session, counted)]
    facts = {"item": item, "rules": rules, "denied": denied, "at": at, "tenant": tenant}
    return render("policy.html", "Policies", lead=words.policy(item, rules), text=dumped(item["document"]), **facts)


def _rule(document: Json, rule: Json) -> str:
    """The rule as it stands in its document."""
    return dumped(document["spec"][rule["direction"]][rule["number"] - 1])


def dumped(document: Any) -> str:
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=False))


@blueprint.get("/policies.yaml")
@allow(TENANT_READERS, by=SIGHT)
def export_policies() -> Response:
    """A file for `kubectl` and `warren policy apply`: of one policy, of a tenant, or of everybody who is seen."""
    name, tenant = request.args.get("name"), request.args.get("tenant", "").strip() or None
    with reading() as session:
        documents = [row.document for row in _all(session, name, tenant)]
    text = "---\n".join(map(dumped, documents))
    headers = {"Content-Disposition": "attachment; filename=policies.yaml"}
    return Response(text, content_type="application/yaml; charset=utf-8", headers=headers)


def _all(session: Session, name: str | None, tenant: str | None) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = policies.find(session, name=name, tenant=tenant, cursor=cursor, limit=MOST_EXPORTED)
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


@blueprint.route("/new/policy", methods=BOTH)
@allow(TENANT_ADMINS, by=SIGHT)
def new_policy() -> Response | str:
    tenant = request.args.get("tenant", "")
    seen = sight()
    if seen is not None and len(seen) == 1:
        (tenant,) = seen
    text = EXAMPLES.get(request.args.get("like", ""), EXAMPLES["NetworkPolicy"])
    work = Work(
        "Policies",
        "New policies",
        "Write or load documents. What they would change is told first; all of them are applied, or none.",
        "Apply",
        f"/policies?tenant={tenant}" if tenant else "/policies",
        "Policies",
        (CODE,),
        {"documents": text.replace("TENANT", tenant or "TENANT").replace("NAME", "example")},
    )

    def make(values: Values) -> Change:
        wanted = _documents(values["documents"])
        return lambda tx: api_policies.put(tx, wanted)

    def onward(values: Values, made: Json) -> str:
        names = [policy["name"] for policy in made["policies"]]
        return address(names[0]) if len(names) == 1 else "/policies"

    return carried_out(work, make, onward=onward, template="policy_editor.html", more={"examples": _examples()})


def _examples() -> list[str]:
    """Kinds that the asker may apply."""
    return list(EXAMPLES) if sight() is None else ["NetworkPolicy", "Egress firewall"]


def address(name: str) -> str:
    return f"/policies/{name}" if "/" in name else f"/cluster/policies/{name}"


def _documents(text: str) -> PolicyDocuments:
    try:
        # A few lines of aliases of aliases stand for more than any memory holds.
        with suppress(yaml.YAMLError):
            if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
                raise invalid("documents", "The text uses YAML's aliases (*name); write out what they stand for.")
        found = manifests.of_text("the text", text)
    except click.ClickException as fault:
        raise invalid("documents", fault.message[:1].upper() + fault.message[1:]) from None
    except RecursionError:
        raise invalid("documents", "The text is nested too deep; flatten it.") from None
    return body(PolicyDocuments, documents=found)


@blueprint.route("/policies/<tenant>/<policy>/edit", methods=BOTH)
@allow(TENANT_ADMINS)
def edit_policy(tenant: str, policy: str) -> Response | str:
    return _edited(f"{tenant}/{policy}")


@blueprint.route("/cluster/policies/<policy>/edit", methods=BOTH)
@allow(CHANGERS)
def edit_cluster_policy(policy: str) -> Response | str:
    return _edited(policy)


def _edited(name: str) -> Response | str:
    with reading() as session:
        item = present.policy(policies.get(session, name))
    work = Work(
        "Policies",
        f"Edit {name}",
        "What it would change is told first. Connections that it forbids stop at their next packet.",
        "Apply",
        address(name),
        name,
        (CODE,),
        {"documents": dumped(item["document"])},
        version=item["version"],
        undo=f"{address(name)}/edit",
    )

    def make(values: Values) -> Change:
        wanted = _documents(values["documents"])
        if [_name(document) for document in wanted.documents] != [name]:
            raise invalid("documents", f"This page is about {name} alone; make others under New policies.")

        def change(tx: Transaction) -> Json:
            policies.get(tx.session, name)  # one that went meanwhile is not made anew
            return api_policies.put(tx, wanted, seen_version())

        return change

    return carried_out(work, make, template="policy_editor.html", more={"examples": []})


def _name(document: Json) -> str:
    metadata = document.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    return "/".join(str(found[key]) for key in ("namespace", "name") if found.get(key))


@blueprint.route("/policies/<tenant>/<policy>/delete", methods=BOTH)
@allow(TENANT_ADMINS)
def delete_policy(tenant: str, policy: str) -> Response | str:
    return _deleted(f"{tenant}/{policy}")


@blueprint.route("/cluster/policies/<policy>/delete", methods=BOTH)
@allow(CHANGERS)
def delete_cluster_policy(policy: str) -> Response | str:
    return _deleted(policy)


def _deleted(name: str) -> Response | str:
    with reading() as session:
        item = present.policy(policies.get(session, name))
    work = Work(
        "Policies",
        f"Delete {name}",
        "What it allows or denies is decided without it. This cannot be undone: export it first if in doubt.",
        "Delete",
        address(name),
        name,
        danger=True,
        version=item["version"],
    )
    return carried_out(
        work,
        lambda values: lambda tx: policies.delete(tx, name, version=seen_version()),
        onward=lambda values, made: "/policies",
    )
