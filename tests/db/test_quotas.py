"""What a tenant may have at most is refused beyond that, also of two at once, and nothing is half done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from db import networks, policies, quotas, tenants, wanted
from db.changes import transaction
from db.engine import reading
from db.errors import DomainError, Invalid, QuotaExceeded
from tests.db import steps


def document(name: str) -> dict[str, object]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "acme"},
        "spec": {"podSelector": {}},
    }


def test_each_quota_is_kept(engine: Engine) -> None:
    host = steps.host(engine)
    made = steps.tenant(engine, quota={"networks": 2, "endpoints": 2, "policies": 1})
    steps.network(engine, "acme/web", "10.20.0.0/24")
    with pytest.raises(QuotaExceeded, match="tenant acme has 2 networks and may have 2"):
        steps.network(engine, "acme/more")
    steps.attach(engine, host, "c1")
    steps.attach(engine, host, "c2")
    held = steps.held(engine)
    with pytest.raises(QuotaExceeded, match="has 2 endpoints and may have 2; remove some, or have an administrator"):
        steps.attach(engine, host, "c3")
    assert steps.held(engine) == held
    steps.attach(engine, host, "c2")  # is there already, and no more
    steps.do(engine, policies.apply, [document("one")])
    steps.do(engine, policies.apply, [document("one")])
    with pytest.raises(QuotaExceeded, match="has 1 policies and may have 1"):
        steps.do(engine, policies.apply, [document("two")])
    steps.detach(engine, host, "c1")
    steps.do(engine, tenants.update, "acme", quota={"endpoints": None, "addresses": 1})
    with pytest.raises(QuotaExceeded, match="has 1 addresses and may have 1"):
        steps.attach(engine, host, "c4")
    with reading(engine) as session:
        assert tenants.get(session, "acme").quota == {"networks": 2, "addresses": 1, "policies": 1}
        assert quotas.used(session, made.id, "addresses") == 1


def test_an_endpoint_takes_one_address_of_each_family_however_many_subnets_there_are(engine: Engine) -> None:
    host = steps.host(engine)
    made = steps.tenant(engine, quota={"addresses": 3})
    steps.do(engine, networks.create, "acme/web", subnets=["10.20.0.0/24", "10.21.0.0/24", "fd00:20::/64"])
    steps.attach(engine, host, "c1")
    with pytest.raises(QuotaExceeded, match="has 2 addresses and may have 3"):
        steps.attach(engine, host, "c2")
    with reading(engine) as session:
        assert quotas.used(session, made.id, "addresses") == 2


def test_other_tenants_are_not_bounded(engine: Engine) -> None:
    steps.tenant(engine, quota={"networks": 0})
    steps.tenant(engine, "beta")
    steps.do(engine, networks.create, "beta/web")


def test_a_quota_of_what_is_not_counted_is_refused(engine: Engine) -> None:
    with pytest.raises(Invalid, match="there is no quota of 'hosts'; use networks"):
        steps.tenant(engine, quota={"hosts": 1})
    with pytest.raises(Invalid, match="7999 bandwidth is not possible; use 8000 to"):
        steps.tenant(engine, quota={"bandwidth": 7999})
    with pytest.raises(Invalid, match="-1 networks is not possible"):
        steps.tenant(engine, quota={"networks": -1})


RATES = {"ingress_rate": 8_000_000, "ingress_burst": 80_000, "egress_rate": 2_000_000, "egress_burst": 20_000}


def test_bandwidth_is_what_each_endpoint_may_have(engine: Engine) -> None:
    """Those that ask for none have the quota's, those that ask for less have that, and who asks for more is refused."""
    host = steps.host(engine)
    steps.tenant(engine, quota={"bandwidth": 8_000_000})
    steps.network(engine, "acme/web", "10.20.0.0/24")
    of_quota = {"ingress_rate": 8_000_000, "ingress_burst": 800_000}
    of_quota |= {"egress_rate": 8_000_000, "egress_burst": 800_000}
    assert steps.attach(engine, host, "c1").limits == of_quota
    assert steps.attach(engine, host, "c2", limits=RATES).limits == RATES
    assert steps.attach(engine, host, "c2", limits=RATES).limits == RATES  # is there already
    half = {"egress_rate": 1_000_000, "egress_burst": 1_000}
    assert steps.attach(engine, host, "c3", limits=half).limits == of_quota | half
    held = steps.held(engine)
    with pytest.raises(
        QuotaExceeded,
        match=r"8000001 bit/s \(egress_rate\) .* tenant acme may have 8000000",
    ):
        steps.attach(engine, host, "c4", limits={"egress_rate": 8_000_001, "egress_burst": 1})
    with pytest.raises(Invalid, match="bandwidth has no ingress_burst"):
        steps.attach(engine, host, "c4", limits={"ingress_rate": 8})
    assert steps.held(engine) == held


def test_a_change_of_it_concerns_who_is_there(engine: Engine) -> None:
    """The hosts of its endpoints have news, others have none; what was asked for is not forgotten."""
    host, other = steps.host(engine), steps.host(engine, "h2", "198.18.0.12")
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24")
    steps.attach(engine, host, "c1", limits=RATES)

    def limits() -> object:
        with reading(engine) as session:
            return wanted.wanted(session, host.id).endpoints[0].limits

    assert limits() == RATES
    for bandwidth, now in ((1_000_000, (1_000_000, 1_000_000)), (None, (8_000_000, 2_000_000))):
        before = steps.revision(engine)
        steps.do(engine, tenants.update, "acme", quota={"bandwidth": bandwidth})
        found = limits()
        assert isinstance(found, dict) and (found["ingress_rate"], found["egress_rate"]) == now
        with reading(engine) as session:
            assert wanted.changed_for_host(session, host.id, before)
            assert not wanted.changed_for_host(session, other.id, before)
    before = steps.revision(engine)
    steps.do(engine, tenants.update, "acme", quota={"endpoints": 9})
    with reading(engine) as session:
        assert not wanted.changed_for_host(session, host.id, before)


def test_two_at_once_do_not_both_get_the_last(engine: Engine) -> None:
    hosts = [steps.host(engine, f"h{n}", f"198.18.0.{10 + n}") for n in range(4)]
    steps.tenant(engine, quota={"endpoints": 3})
    steps.network(engine, "acme/web", "10.20.0.0/24")

    def attach(number: int) -> bool:
        try:
            steps.attach(engine, hosts[number % 4], f"c{number}")
        except QuotaExceeded:
            return False
        except DomainError:
            return attach(number)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attach, range(16))) == 3
    with transaction(engine) as tx:
        assert quotas.used(tx.session, tenants.get(tx.session, "acme").id, "endpoints") == 3
