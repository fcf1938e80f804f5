"""Of two who change the same at the same moment the second sees what the first did."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import Engine

from db import bindings, endpoints, groups, policies, records, users
from db.changes import Transaction, transaction
from db.engine import reading
from db.errors import Conflict, DomainError, StaleVersion
from tests.db import steps
from tests.db.steps import do

Act = Callable[[Transaction], object]


def at_once(engine: Engine, first: Act, second: Act) -> DomainError | None:
    """Why the second is refused, which begins when the first is done and not committed."""

    def later() -> DomainError | None:
        try:
            do(engine, second)
        except DomainError as refused:
            return refused
        return None

    with ThreadPoolExecutor(1) as threads:
        with transaction(engine) as tx:
            first(tx)
            tx.session.flush()
            other = threads.submit(later)
            wait([other], timeout=1.0)  # it has to wait for us, or does not wait at all
        return other.result(60)


@pytest.mark.parametrize(
    "takes_away",
    [
        lambda tx, name: users.delete(tx, name),
        lambda tx, name: bindings.grant(tx, "viewer", user=name),
        lambda tx, name: bindings.revoke(tx, bindings.find(tx.session, user=name).items[0]),
    ],
)
def test_two_administrators_do_not_take_each_other_away(engine: Engine, takes_away: Callable[..., object]) -> None:
    with transaction(engine) as tx:
        for name in ("ada", "bob"):
            users.create(tx, name, role="admin")
    refused = at_once(engine, lambda tx: takes_away(tx, "ada"), lambda tx: takes_away(tx, "bob"))
    assert isinstance(refused, Conflict) and "without an admin" in str(refused)
    with reading(engine) as session:
        assert len(bindings.admins(session)) == 1


def test_two_domains_are_not_given_for_the_same_version(engine: Engine) -> None:
    with reading(engine) as session:
        seen = records.settings(session).version
    refused = at_once(
        engine,
        lambda tx: records.set_domain(tx, "one.example", version=seen),
        lambda tx: records.set_domain(tx, "two.example", version=seen),
    )
    assert isinstance(refused, StaleVersion)
    with reading(engine) as session:
        assert records.settings(session) == ("one.example", seen + 1)


def test_an_endpoint_that_became_another_is_not_removed_for_what_it_was(engine: Engine) -> None:
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24")
    steps.attach(engine, steps.host(engine), "web1")
    with reading(engine) as session:
        seen = endpoints.get(session, "acme/web1").version
    refused = at_once(
        engine,
        lambda tx: endpoints.update(tx, "acme/web1", labels={"app": "web"}),
        lambda tx: endpoints.delete(tx, "acme/web1", version=seen),
    )
    assert isinstance(refused, StaleVersion)
    with reading(engine) as session:
        assert endpoints.get(session, "acme/web1").labels == {"app": "web"}


def test_a_policy_that_became_another_is_not_replaced_for_what_it_was(engine: Engine) -> None:
    steps.tenant(engine)

    def document(app: str) -> dict[str, object]:
        named = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
        return named | {
            "metadata": {"name": "db", "namespace": "acme"},
            "spec": {"podSelector": {"matchLabels": {"app": app}}},
        }

    do(engine, policies.apply, [document("a")])
    with reading(engine) as session:
        seen = policies.get(session, "acme/db").version
    refused = at_once(
        engine,
        lambda tx: policies.apply(tx, [document("b")], version=seen),
        lambda tx: (policies.get(tx.session, "acme/db"), policies.apply(tx, [document("c")], version=seen)),
    )
    assert isinstance(refused, StaleVersion)
    with reading(engine) as session:
        assert policies.get(session, "acme/db").document == document("b")


@pytest.mark.parametrize("whom", [{"user": "ada"}, {"group": "netops"}])
def test_a_role_in_the_cluster_is_given_once(engine: Engine, whom: dict[str, str]) -> None:
    """The database would keep two, as neither names a tenant."""
    with transaction(engine) as tx:
        users.create(tx, "ada")
        groups.create(tx, "netops")
    refused = at_once(
        engine, lambda tx: bindings.grant(tx, "viewer", **whom), lambda tx: bindings.grant(tx, "admin", **whom)
    )
    assert refused is None
    with reading(engine) as session:
        assert [one.role for one in bindings.find(session, **whom).items] == ["admin"]
