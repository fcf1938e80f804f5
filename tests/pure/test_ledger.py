"""What the agent knows between two of the API's documents."""

from __future__ import annotations

from ovs_agent.ledger import Ledger
from tests.pure.test_plan import endpoint, wanted


def ids(ledger: Ledger) -> set[int]:
    return {one.id for one in ledger.endpoints()}


def test_what_was_detached_is_gone_though_the_document_has_it() -> None:
    ledger = Ledger("warren0", "netdev", {})
    ledger.received(wanted(1, 2, revision=10), fresh=True)
    ledger.attached(endpoint(3), 11)
    assert ids(ledger) == {1, 2, 3}
    for id in (2, 3):
        ledger.forget(endpoint(id))
    assert ids(ledger) == {1} and ledger.find(endpoint(2).key) is None
    ledger.received(wanted(1, 2, 3, revision=11), fresh=True)  # older than the end of both
    assert ids(ledger) == {1}
    ledger.received(wanted(1, revision=13), fresh=True)
    assert ids(ledger) == {1}


def test_what_comes_back_under_its_old_number_is_there() -> None:
    """An endpoint that moved away and returned."""
    ledger = Ledger("warren0", "netdev", {})
    ledger.received(wanted(1, revision=10), fresh=True)
    ledger.forget(endpoint(1))
    ledger.attached(endpoint(1), 12)
    assert ids(ledger) == {1}


def test_what_was_moved_to_another_container_is_there_and_no_longer_where_the_document_has_it() -> None:
    """Or the end of the container that it left would take it away from the new one."""
    ledger = Ledger("warren0", "netdev", {})
    ledger.received(wanted(1, 2, revision=10), fresh=True)
    left = endpoint(1)
    moved = left._replace(container_id="new", netns="/run/netns/new")
    ledger.attached(moved, 11)
    assert ledger.find(left.key) is None and ledger.find(moved.key) == moved
    assert ledger.endpoints() == (moved, endpoint(2))
    ledger.received(wanted(1, 2, revision=12), fresh=True)  # it went back
    assert ledger.endpoints() == (left, endpoint(2))
