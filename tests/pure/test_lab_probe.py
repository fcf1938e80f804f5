"""What the probe asks, and what an answer proves."""

from __future__ import annotations

from lab.matrix import isolated, render, verdict
from lab.probe import Answer, Ask, Party, proves_nothing, questions

WEB = Party("web1", "acme", "-", ("10.20.0.9/24", "fd00:20::9/64"))
DB = Party("db1", "acme", "-", ("10.30.0.9/24",))
OTHER = Party("other1", "beta", "-", ("10.40.0.9/24", "fd00:40::9/64"))
TWIN = Party("twin1", "beta", "-", ("10.20.0.7/24",))


def ping(source: Party, target: Party, family: int = 4) -> Ask:
    found = questions([source], [target], [("icmp", None)], [family])
    assert len(found) == 1
    return found[0]


def test_everybody_asks_everybody_else_in_every_family_both_have() -> None:
    asked = questions([WEB, DB, OTHER], [WEB, DB, OTHER], [("tcp", 80)], [4, 6])
    assert sorted((ask.source.name, ask.target.name, ask.family) for ask in asked) == [
        ("db1", "other1", 4),
        ("db1", "web1", 4),
        ("other1", "db1", 4),
        ("other1", "web1", 4),
        ("other1", "web1", 6),
        ("web1", "db1", 4),
        ("web1", "other1", 4),
        ("web1", "other1", 6),
    ]


def test_an_echo_from_an_address_the_askers_tenant_has_too_proves_nothing() -> None:
    assert proves_nothing(ping(WEB, TWIN))
    assert not proves_nothing(ping(WEB, OTHER))
    assert not proves_nothing(ping(WEB, DB))


def test_the_askers_tenant_may_have_the_address_in_another_of_its_networks() -> None:
    assert not proves_nothing(ping(DB, TWIN))
    assert proves_nothing(ping(DB._replace(tenants_addresses=WEB.addresses), TWIN))


def test_a_name_always_proves_something() -> None:
    assert not proves_nothing(questions([WEB], [TWIN], [("tcp", 80)], [4])[0])


def test_a_reply_across_tenants_breaks_isolation_and_so_does_silence_within_one() -> None:
    within, across = Answer(ping(WEB, DB), True, 1.0), Answer(ping(WEB, OTHER), False, None)
    unproven = Answer(ping(WEB, TWIN), None, None)
    assert isolated([within, across, unproven])
    assert not isolated([within, across._replace(ok=True)])
    assert not isolated([within._replace(ok=False), across])
    assert verdict([within, across, unproven]) == "1 of 1 answered within a tenant, 0 of 1 between tenants."


def test_the_matrix_shows_what_answered_what_did_not_and_what_was_not_asked() -> None:
    answers = [Answer(ping(WEB, DB), True, 1.0), Answer(ping(WEB, OTHER), False, None)]
    answers += [Answer(ping(DB, OTHER), True, 1.0), Answer(ping(DB, OTHER), False, None)]
    assert render(answers) == ["FROM  db1  other1", "db1   .    1/2", "web1  ok   -"]
