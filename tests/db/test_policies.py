"""Policies in the database: applied whole or not at all, numbered without gaps, and read as values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, select

from controller.model import Action, Change, Direction, NamedPort, Rule, Tier
from controller.watch import difference, first_world
from controller.world import World
from db import policies, tenants
from db.changes import changes_since, rehearsal
from db.engine import reading
from db.errors import Conflict, DomainError, Exhausted, Invalid, NotFound, StaleVersion
from db.snapshot import load, snapshot
from db.tables import Policy
from tests.db import steps
from tests.db.steps import do

Json = dict[str, Any]


def document(name: str = "p", tenant: str = "acme", **spec: Any) -> Json:
    metadata = {"name": name, "namespace": tenant}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def cluster_document(
    name: str = "c", priority: int = 7, ingress: int = 1, egress: int = 0, tier: str = "Admin"
) -> Json:
    """With so many rules."""
    rule = {"action": "Deny", "from": [{"namespaces": {}}]}
    back = {"action": "Deny", "to": [{"namespaces": {}}]}
    spec = {"tier": tier, "priority": priority, "subject": {"namespaces": {}}}
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {**spec, "ingress": [rule] * ingress, "egress": [back] * egress},
    }


def firewall(name: str = "default", tenant: str = "acme", kind: str = "EgressNetworkPolicy") -> Json:
    version = {"EgressNetworkPolicy": "network.openshift.io/v1", "EgressFirewall": "k8s.ovn.org/v1"}[kind]
    rules = [{"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}}]
    metadata = {"name": name, "namespace": tenant}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {"egress": rules}}


def apply(engine: Engine, *documents: Any) -> int:
    return do(engine, policies.apply, list(documents))


def names(engine: Engine, **asked: Any) -> list[str]:
    with reading(engine) as session:
        return [row.qualified_name for row in policies.find(session, **asked).items]


def ordinals(engine: Engine) -> dict[str, int]:
    with reading(engine) as session:
        return {row.qualified_name: row.ordinal for row in policies.find(session, limit=1000).items}


def changed(engine: Engine, revision: int) -> list[tuple[str, int, str]]:
    with reading(engine) as session:
        return [(row.noun, row.id, row.op) for row in changes_since(session, revision - 1) or []]


@pytest.fixture
def two(engine: Engine) -> Engine:
    """Tenants acme and beta."""
    for name in ("acme", "beta"):
        steps.tenant(engine, name)
    return engine


def test_several_documents_are_one_revision(two: Engine) -> None:
    revision = apply(two, document("a"), document("a", "beta"), cluster_document("a"), firewall())
    assert changed(two, revision) == [("policy", number, "create") for number in (1, 2, 3, 4)]
    assert names(two) == ["a", "acme/a", "acme/default", "beta/a"]


def test_a_document_is_replaced_and_keeps_its_number_and_its_ordinal(two: Engine) -> None:
    apply(two, document("a"), document("b"))
    revision = apply(two, document("b", ingress=[{}]))
    assert changed(two, revision) == [("policy", 2, "update")]
    with reading(two) as session:
        row = policies.get(session, "acme/b")
        assert (row.id, row.ordinal, row.version) == (2, 2, 2)
        assert row.document == document("b", ingress=[{}])


def test_what_is_there_already_takes_no_revision(two: Engine) -> None:
    before = apply(two, document("a"), cluster_document())
    assert apply(two, cluster_document(), document("a")) == before
    assert changed(two, apply(two, document("a"), document("b"))) == [("policy", 3, "create")]


def test_a_document_is_kept_in_the_order_it_was_given_in(two: Engine) -> None:
    apply(two, document("a"))
    with reading(two) as session:
        assert list(policies.get(session, "acme/a").document) == ["apiVersion", "kind", "metadata", "spec"]


def test_a_deleted_policy_leaves_its_ordinal_and_not_its_number(two: Engine) -> None:
    apply(two, document("a"), document("b"), document("c"), document("a", "beta"), cluster_document("a"))
    assert ordinals(two) == {"a": 1, "acme/a": 1, "acme/b": 2, "acme/c": 3, "beta/a": 1}
    assert changed(two, do(two, policies.delete, "acme/b")) == [("policy", 2, "delete")]
    assert changed(two, apply(two, document("z"), document("y"))) == [("policy", 6, "create"), ("policy", 7, "create")]
    assert ordinals(two)["acme/z"] == 2 and ordinals(two)["acme/y"] == 4
    do(two, policies.delete, "a")
    assert changed(two, apply(two, cluster_document("a"))) == [("policy", 8, "create")]


def test_one_request_to_several_owners_numbers_each_ones_policies_apart(two: Engine) -> None:
    apply(two, document("a"), document("b"), cluster_document("c"))
    apply(two, document("d", "beta"), document("e"), cluster_document("f"))
    with reading(two) as session:
        found = {row.qualified_name: row.ordinal for row in policies.find(session).items}
    assert found == {"c": 1, "f": 2, "acme/a": 1, "acme/b": 2, "acme/e": 3, "beta/d": 1}


def test_lists_come_in_pages_and_by_tenant(two: Engine) -> None:
    apply(two, document("b"), document("a.b"), document("a", "beta"), cluster_document("z"), cluster_document("y"))
    everything = ["y", "z", "acme/a.b", "acme/b", "beta/a"]
    assert names(two) == everything
    assert names(two, tenant="acme") == ["acme/a.b", "acme/b"]
    assert names(two, tenant="nobody") == []
    seen: list[str] = []
    cursor = None
    with reading(two) as session:
        while True:
            page = policies.find(session, cursor=cursor, limit=1)
            seen += [row.qualified_name for row in page.items]
            if (cursor := page.next) is None:
                break
    assert seen == everything


@pytest.mark.parametrize(
    ("documents", "refusal", "sentence"),
    [
        (
            [document("a"), document("b", ingress=[{"ports": [{"port": 70000}]}])],
            Invalid,
            "NetworkPolicy acme/b: spec.ingress[0].ports[0].port: 70000 is not a port; "
            "use 1 to 65535 or the name of a port",
        ),
        (
            [{"kind": "NetworkPolicy", "metadata": {"name": "a"}}],
            Invalid,
            "NetworkPolicy a: apiVersion: it is missing; add it",
        ),
        ([document("a"), 5], Invalid, "document 2: the document: 5 is not a mapping; write KEY: VALUE lines below it"),
        (
            [document("a"), document("a", "beta"), document("a", ingress=[{}])],
            Invalid,
            "NetworkPolicy acme/a comes after NetworkPolicy acme/a, document 1, in the same request; "
            "give each policy a name of its own",
        ),
        (
            [document("a"), document("a", "gamma")],
            NotFound,
            "NetworkPolicy gamma/a: there is no tenant gamma; create it with `warren tenant create gamma`",
        ),
        (
            [document("b"), firewall("there")],
            Conflict,
            "EgressNetworkPolicy acme/there: policy acme/there exists already, and is of kind NetworkPolicy; "
            "choose another name, or delete it first",
        ),
        (
            [firewall("one", "beta"), firewall("two", "beta", "EgressFirewall")],
            Conflict,
            "EgressNetworkPolicy beta/one: tenant beta has EgressFirewall two for its egress already; "
            "write all rules into that one, or delete it first",
        ),
        (
            [firewall("there", kind="EgressFirewall")],
            Conflict,
            "EgressFirewall acme/there: policy acme/there exists already, and is of kind NetworkPolicy; "
            "choose another name, or delete it first",
        ),
        (
            [firewall("other")],
            Conflict,
            "EgressNetworkPolicy acme/other: tenant acme has EgressNetworkPolicy default for its egress already; "
            "write all rules into that one, or delete it first",
        ),
    ],
)
def test_what_cannot_be_is_refused_whole(
    two: Engine, documents: list[Any], refusal: type[DomainError], sentence: str
) -> None:
    before = apply(two, document("there"), firewall())
    with pytest.raises(refusal) as refused:
        apply(two, *documents)
    assert str(refused.value) == sentence
    assert steps.revision(two) == before
    assert names(two) == ["acme/default", "acme/there"]


def test_one_kind_of_firewall_replaces_the_other_of_its_name(two: Engine) -> None:
    apply(two, firewall())
    with reading(two) as session:
        before = policies.get(session, "acme/default")
    for kind in ("EgressFirewall", "EgressNetworkPolicy"):
        apply(two, firewall(kind=kind))
        with reading(two) as session:
            row = policies.get(session, "acme/default")
            assert (row.id, row.kind, row.document) == (before.id, kind, firewall(kind=kind))
    assert names(two) == ["acme/default"]


def test_a_refusal_names_the_field_of_the_request(two: Engine) -> None:
    with pytest.raises(Invalid) as refused:
        apply(two, document("a"), document("b", ingress=[{"ports": [{"port": 0}]}]))
    assert refused.value.field == "documents.1.spec.ingress.0.ports.0.port"


def test_the_policies_of_a_priority_have_64_rules_at_most(two: Engine) -> None:
    for name in ("a", "b"):
        apply(two, cluster_document(name, ingress=25, egress=25))
    apply(two, cluster_document("c", ingress=14, egress=14))
    before = steps.revision(two)
    for one in (
        cluster_document("d", ingress=1),
        cluster_document("d", ingress=0, egress=1),
        cluster_document("c", ingress=15, egress=14),
    ):
        with pytest.raises(Conflict, match="use another priority") as refused:
            apply(two, one)
        assert "tier Admin would have 65 " in str(refused.value) and "rules of priority 7" in str(refused.value)
    assert steps.revision(two) == before
    apply(two, cluster_document("d", ingress=25, priority=8), cluster_document("e", ingress=25, tier="Baseline"))
    apply(two, cluster_document("c", ingress=13, egress=14), cluster_document("f", ingress=1))


def test_an_owner_has_so_many_policies_and_no_more(two: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "LAST_ORDINAL", 2)
    apply(two, document("a"), document("b"), cluster_document("a"))
    with pytest.raises(Exhausted, match="NetworkPolicy acme/c: tenant acme has 2 policies"):
        apply(two, document("c"))
    apply(two, document("a", ingress=[{}]))


def test_whoever_saw_another_version_does_not_delete(two: Engine) -> None:
    apply(two, document("a"))
    apply(two, document("a", ingress=[{}]))
    with pytest.raises(StaleVersion, match="policy acme/a is at version 2, not 1"):
        do(two, policies.delete, "acme/a", version=1)
    do(two, policies.delete, "acme/a", version=2)
    for name in ("acme/a", "a", "nobody/a", "a/b/c", ""):
        with pytest.raises(NotFound):
            do(two, policies.delete, name)


def test_a_tenant_that_goes_takes_its_policies_along(two: Engine) -> None:
    apply(two, document("a"), document("b"), document("a", "beta"), cluster_document())
    revision = do(two, tenants.delete, "acme")
    gone = [row for row in changed(two, revision) if row[0] == "policy"]
    assert gone == [("policy", 1, "delete"), ("policy", 2, "delete")]
    assert names(two) == ["c", "beta/a"]


# -- as values --


def test_policies_are_loaded_as_values(two: Engine) -> None:
    apply(two, document("a", "beta", ingress=[{}]), cluster_document("c", priority=3))
    with reading(two) as session:
        found = load(session, [("policy", 1), ("policy", 2), ("policy", 9)])
        assert [change for change in snapshot(session)[1] if change.noun == "policy"] == found[:2]
    tenant, cluster, gone = found
    assert gone == Change("policy", 9, None)
    assert tenant.value is not None and cluster.value is not None
    assert tenant.value[:6] == (1, "beta/a", 2, Tier.TENANT, 1, 0)
    assert tenant.value.ingress == (Rule("", Action.ACCEPT, None, None),)  # type: ignore[union-attr]
    assert cluster.value[:6] == (2, "c", 0, Tier.ADMIN, 1, 3)


def test_a_tenant_denies_by_default_what_it_is_told_to(engine: Engine) -> None:
    steps.tenant(engine, "acme")
    steps.tenant(engine, "beta", default_deny=["egress"])

    def denied(id: int) -> frozenset[Direction]:
        with reading(engine) as session:
            return load(session, [("tenant", id)])[0].value.default_deny  # type: ignore[union-attr]

    assert denied(1) == frozenset() and denied(2) == {Direction.EGRESS}
    revision = do(engine, tenants.update, "acme", default_deny=["egress", "ingress", "egress"])
    assert changed(engine, revision) == [("tenant", 1, "update")]
    assert denied(1) == set(Direction)
    assert do(engine, tenants.update, "acme", default_deny=["ingress", "egress"]) == revision
    do(engine, tenants.update, "acme", labels={"a": "b"})
    assert denied(1) == set(Direction)
    do(engine, tenants.update, "acme", default_deny=[])
    assert denied(1) == frozenset()
    with pytest.raises(Invalid, match="'all' is not a direction; use ingress or egress"):
        do(engine, tenants.update, "acme", default_deny=["all"])


def test_an_endpoint_has_its_named_ports_in_order(engine: Engine) -> None:
    steps.tenant(engine)
    ports = [
        {"name": "web", "port": 80, "protocol": "tcp"},
        {"name": "dns", "port": 53, "protocol": "udp"},
        {"name": "sig", "port": 3868, "protocol": "sctp"},
    ]
    steps.attach(engine, steps.host(engine), "web1", "acme/default", ports=ports)
    with reading(engine) as session:
        endpoint = load(session, [("endpoint", 1)])[0].value
    means = (NamedPort("dns", 17, 53), NamedPort("sig", 132, 3868), NamedPort("web", 6, 80))
    assert endpoint.ports == means  # type: ignore[union-attr]


def test_a_world_catches_up_with_policies_from_a_snapshot(two: Engine) -> None:
    apply(two, document("a"), document("b"))
    old = first_world(two)
    do(two, policies.delete, "acme/a")
    apply(two, document("b", ingress=[{}]), cluster_document())
    with reading(two) as session:
        revision, objects = snapshot(session)
    changes = difference(old, objects)
    assert [(change.noun, change.id, change.value is None) for change in changes] == [
        ("policy", 1, True),
        ("policy", 2, False),
        ("policy", 3, False),
    ]
    assert old.apply(revision, changes) == World().apply(revision, objects)


def test_a_rehearsal_leaves_nothing_behind(two: Engine) -> None:
    apply(two, document("a"))
    with reading(two) as session:
        before = snapshot(session)
    with rehearsal(two) as tx:
        policies.apply(tx, [document("a", egress=[{}]), document("b"), cluster_document()])
        policies.delete(tx, "acme/a")
        assert {noun for noun, _ in tx.recorded} == {"policy"}
    with reading(two) as session:
        assert snapshot(session) == before


# -- all at once --


def test_many_who_apply_and_delete_at_once_have_ordinals_of_their_own(two: Engine) -> None:
    def act(number: int) -> None:
        for turn in range(8):
            name = f"p{number}-{turn}"
            apply(two, document(name), document(name, "beta"), cluster_document(name, priority=number * 8 + turn))
            if turn % 2:
                do(two, policies.delete, f"acme/{name}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(act, range(4)))
    with reading(two) as session:
        rows = session.execute(select(Policy.owner, Policy.ordinal)).all()
    assert len(set(rows)) == len(rows) == 4 * (4 + 8 + 8)
    for owner in (0, 2):
        assert sorted(ordinal for its, ordinal in rows if its == owner) == list(range(1, 33))


def test_of_two_who_apply_the_same_policy_at_once_both_succeed(two: Engine) -> None:
    def act(number: int) -> int:
        return apply(two, document("a", ingress=[{"ports": [{"port": number + 1}]}]))

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(act, range(8)))) == 8
    assert ordinals(two) == {"acme/a": 1}
