"""Alerts name what is wrong, where, and what to do; what hosts counted is told from what they had counted before."""

from __future__ import annotations

from datetime import timedelta

from tests.web.test_words import NOW, host
from web.history import Sample, growth, rates
from web.pace import Measured
from web.ui.alerts import Alert, Controller, alerts
from web.ui.overview import percentiles

RUNNING = Controller("ctl1", "tcp:198.18.0.1:6653", NOW, alive=True, behind=0)
BLACK_HOLE = "Packets of 1500 bytes, the MTU of eth1, do not come to h2 (198.18.0.12) and back, and small ones do: ..."


def up(name: str, **more: object) -> dict[str, object]:
    return host(name, connected=True, **more)


def said(found: list[Alert]) -> list[tuple[str | None, str]]:
    return [(one.host, one.sentence) for one in found]


def test_nothing_is_said_of_what_is_well() -> None:
    assert alerts([up("h1"), up("h2")], [RUNNING], [], {}, NOW) == []
    assert alerts([host("h1", "new", connected=False)], [], [], {}, NOW) == []


def test_each_has_a_remedy() -> None:
    silent = up("h1", state="silent", endpoints=41, seen_at=NOW - timedelta(minutes=4))
    hole = up("h2", state="degraded", agent={"problems": [BLACK_HOLE]})
    alone = host("h3", "degraded", connected=False)
    refused = up("h4", state="degraded", error="OFPBMC_BAD_FIELD")
    full = ["subnet 10.0.0.0/24 of network acme/web has 3 of 254 addresses left"]
    grown = {"h5": {"repaired": 2, "unknown_tunnel_source": 7, "spoofed": 1}, "h6": {"repaired": 1}}
    found = alerts([silent, hole, alone, refused, up("h5")], [RUNNING], full, grown, NOW)
    assert said(found) == [
        ("h1", "h1 is silent for 4 min: 41 endpoints out of sight."),
        ("h2", f"h2: {BLACK_HOLE}"),
        ("h3", "h3's bridge has no controller: it goes on with the flows it has."),
        ("h4", "h4's bridge refused a change: OFPBMC_BAD_FIELD"),
        (None, "Subnet 10.0.0.0/24 of network acme/web has 3 of 254 addresses left."),
        ("h5", "h5 dropped 7 tunnel packets from a machine that is not a host, in the last hour."),
        ("h5", "2 flows were changed on h5 by somebody else, and put right within the last hour."),
        ("h6", "1 flow was changed on h6 by somebody else, and put right within the last hour."),
    ]
    assert all(one.remedy for one in found if BLACK_HOLE not in one.sentence)


def test_without_a_controller_that_comes_first() -> None:
    gone = RUNNING._replace(alive=False)
    assert "No controller is heard" in alerts([up("h1")], [gone], [], {}, NOW)[0].sentence


def test_what_grew_is_told_from_what_there_was() -> None:
    samples = [
        Sample(0.0, {"h1": {"spoofed": 100, "repaired": 3}}),
        Sample(10.0, {"h1": {"spoofed": 100, "repaired": 3}, "h2": {"spoofed": 50, "repaired": 0}}),
        Sample(20.0, {"h1": {"spoofed": 130, "repaired": 3}, "h2": {"spoofed": 50, "repaired": 1}}),
        Sample(30.0, {"h1": {"spoofed": 5, "repaired": 0}, "h2": {"spoofed": 50, "repaired": 1}}),
    ]
    assert growth(samples) == {"h1": {"spoofed": 35}, "h2": {"repaired": 1}}
    assert growth(samples[:2]) == {}
    assert rates(samples, "h1") == ([10.0, 20.0, 30.0], {"spoofed": [0.0, 3.0, 0.5]})
    assert rates(samples).series == {"spoofed": [0.0, 3.0, 0.5]}
    assert rates(samples, "h2").series == {}


def test_a_gap_stays_a_gap() -> None:
    samples = [Sample(at, {"h1": {"spoofed": count}}) for at, count in ((0.0, 0), (10.0, 10), (200.0, 90), (210.0, 90))]
    assert rates(samples, "h1").series == {"spoofed": [1.0, None, 0.0]}
    missing = [samples[0], Sample(10.0, {}), Sample(20.0, {"h1": {"spoofed": 7}}), Sample(30.0, {"h1": {"spoofed": 8}})]
    assert rates(missing, "h1").series == {"spoofed": [None, None, 0.1]}


def test_percentiles_are_of_what_was_measured() -> None:
    assert percentiles([]) == percentiles([Measured(0.0, 1, 5.0)]) == {}
    found = percentiles([Measured(float(n), n, float(n)) for n in range(1, 102)])
    assert found == {50: 51.0, 95: 96.0, 99: 100.0}
