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
