"""Traffic over HTTP and on pages: what agents tell of their own endpoints, how fast it grew, and who may see it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import traffic
from db.engine import writing
from db.tables import Endpoint, Host
from db.traffic import Latest
from tests.ui.visitor import member, two, words  # noqa: F401 - fixtures
from tests.web.conftest import Caller, Site
from web.history import History
from web.traffic import EVERY_SECONDS, KEPT_SECONDS, Rates, Traffic, rates
from web.ui.traffic import HEIGHT, chart

Json = dict[str, Any]
START = datetime(2026, 11, 27, 12, tzinfo=UTC)
AGENT = {"version": "0.1.0", "pid": 1, "started_at": "2026-11-20T10:00:00Z"}


def latest(host: int, after: float, **endpoints: list[int]) -> Latest:
    counts = {name.removeprefix("e"): values for name, values in endpoints.items()}
    return Latest(host, START + timedelta(seconds=after), counts, {})


def grown(*readings: list[Latest]) -> Traffic:
    kept = Traffic()
    for number, found in enumerate(readings):
        kept.look(found, 1000.0 + EVERY_SECONDS * number)
    return kept


def test_rates_are_of_the_time_between_two_readings() -> None:
    kept = grown(
        [latest(1, 0, e7=[0, 0, 0, 0, 0, 0], e8=[0, 500, 0, 0, 0, 0]), latest(2, 0, e9=[0, 0, 0, 0, 0, 0])],
        [latest(1, 10, e7=[1, 1000, 2, 5, 200, 3], e8=[0, 600, 0, 0, 0, 0]), latest(2, 0, e9=[0, 0, 0, 0, 0, 0])],
        [latest(1, 20, e7=[0, 50, 0, 5, 200, 3]), latest(2, 25, e9=[0, 2500, 0, 0, 0, 0])],
    )
    looks = kept.looks()
    assert rates(looks, {1: {7}}) == Rates([1020.0, 1040.0], [100.0, 5.0], [20.0, 0.0], [0.5, 0.0])
    assert rates(looks, {1: {8}}).received == [10.0, None]  # it is gone
    assert rates(looks, {2: {9}}).received == [None, 100.0]  # its agent said nothing new, and then of 25 seconds
    assert rates(looks, {1: {7, 8}, 2: {9}}).received == [110.0, 105.0]
    assert rates(looks, {1: None}).received == [110.0, 5.0]
    assert rates(looks, {3: {1}}).received == [None, None]


def test_an_hour_is_kept_and_no_more() -> None:
    kept = grown(*([latest(1, 20.0 * at, e7=[at, 100 * at, 0, 0, 0, 0])] for at in range(400)))
    looks = kept.looks()
    assert len(looks) == KEPT_SECONDS / EVERY_SECONDS
    # The endpoints' ids are kept once, as long as they are the same.
    assert len({id(look.hosts[1].ids) for look in looks}) == 1
    assert set(rates(looks, {1: {7}}).received) == {5.0}


def test_between_hosts_too() -> None:
    kept = Traffic()
    for at, sent in enumerate((0, 4000, 100)):
        kept.look([Latest(1, None, {}, {"2": [at, sent, at, 2 * sent]})], EVERY_SECONDS * (at + 1))
    assert [look.tunnels[1][2] for look in kept.looks()] == [(200.0, 400.0), (5.0, 10.0)]


def test_the_picture_says_in_words_what_it_shows() -> None:
    now = 10_000.0
    drawn = chart(Rates([9100.0, 9120.0, 9140.0], [0.0, None, 1000.0], [250.0, 500.0, None], [0.0, 0.5, 0.0]), now)
    assert drawn is not None
    assert drawn.words == (
        "Received 8.0 kbit/s now, 8.0 kbit/s at most; sent not known now, 4.0 kbit/s at most; in 15 minutes; "
        "10 packets dropped at ports."
    )
    assert drawn.top == "8.0 kbit/s"
    assert drawn.received == f"M270.0 {HEIGHT - 1}.0h0M274.0 1.0h0"  # a gap stays a gap
    assert drawn.sent == "M270.0 44.5h0L272.0 30.0"
    assert chart(Rates([1.0], [None], [None], [None]), now) is None
    assert chart(Rates([], [], [], []), now) is None


def told(site: Site, agent: Caller, host: str, **counts: list[int]) -> None:
    """By a real report: of endpoints by their names."""
    with writing(site.engine) as session:
        ids = {row.name: str(row.id) for row in session.query(Endpoint)}
    body = {"agent": AGENT, "traffic": {ids[name]: values for name, values in counts.items()}}
    answer = agent.put(f"/hosts/{host}/report", body)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def counted(two: Site, monkeypatch: pytest.MonkeyPatch) -> Site:  # noqa: F811
    """h1 has told twice what acme's and beta's endpoint received and sent."""
    monkeypatch.setattr(History, "begin", lambda self: None)  # looks at times of its own would be in the way
    agent = two.caller(two.caller(two.admin.made("/hosts/h1/token")["enrol_token"]).made("/enrol", {})["token"])
    kept = two.state().history._traffic
    for at in range(2):
        told(two, agent, "h1", acme1=[at, 4000 * at, 0, 7 * at, 700 * at, at], beta1=[0, 0, 0, 0, 99, 0])
        with writing(two.engine) as session:
            found = [one._replace(counted_at=START + timedelta(seconds=20 * at)) for one in traffic.latest(session)]
        kept.look(found, START.timestamp() + 20 * at)
    return two


def test_agents_tell_and_people_see_it(counted: Site) -> None:
    body = counted.viewer.get("/endpoints/acme/acme1/traffic").get_json()
    assert body["received"] == {"packets": 1, "bytes": 4000, "dropped": 0}
    assert body["sent"] == {"packets": 7, "bytes": 700, "dropped": 1}
    assert body["last_hour"]["received"] == [200.0] and body["last_hour"]["sent"] == [35.0]
    assert body["last_hour"]["dropped"] == [pytest.approx(0.05)]
    assert counted.viewer.get("/networks/acme/web/traffic").get_json() == body
    whole = counted.viewer.get("/hosts/h1/traffic").get_json()
    assert whole["received"]["bytes"] == 4000 and whole["sent"]["bytes"] == 799 and whole["tunnels"] == []
    text = counted.viewer.get("/metrics").get_data(as_text=True)
    assert 'warren_host_received_bytes_total{host="h1"} 4000\n' in text
    assert 'warren_host_sent_bytes_total{host="h1"} 799\n' in text
    assert "# TYPE warren_host_sent_packets_total counter\n" in text


def test_tunnels_are_told_by_the_other_host(counted: Site) -> None:
    counted.enrolled("h2", "198.18.0.12")
    with writing(counted.engine) as session:
        ids = {row.name: row.id for row in session.query(Host)}
        traffic.carry(session, {ids["h1"]: {ids["h2"]: (3, 300, 2, 200)}})
    (one,) = counted.viewer.get("/hosts/h1/traffic").get_json()["tunnels"]
    assert one == {"host": "h2", "sent_packets": 3, "sent_bytes": 300, "received_packets": 2, "received_bytes": 200}
    text = counted.viewer.get("/metrics").get_data(as_text=True)
    assert 'warren_tunnel_sent_bytes_total{host="h1",peer="h2"} 300\n' in text
    assert 'warren_tunnel_received_packets_total{host="h1",peer="h2"} 2\n' in text


def test_a_tenants_people_see_their_own_only(counted: Site) -> None:
    eve = member(counted, "eve", acme="viewer")
    assert "700 B in 7 packets" in words(eve.open("/endpoints/acme/acme1"))
    assert "Received 1.6 kbit/s now" in words(eve.open("/networks/acme/web"))
    for path in ("/api/v1/endpoints/beta/beta1/traffic", "/api/v1/networks/beta/web/traffic"):
        eve.open(path, 404)
    eve.open("/api/v1/hosts/h1/traffic", 403)
    eve.open("/api/v1/metrics", 403)


@pytest.mark.parametrize(
    "wrong", [{"1": [1, 2, 3]}, {"1": [0, 0, 0, 0, 0, -1]}, {"1": [0, 0, 0, 0, 0, 2**63]}, {"1": "x"}, [1]]
)
def test_what_is_no_counter_is_refused(two: Site, wrong: Any) -> None:  # noqa: F811
    agent = two.caller(two.caller(two.admin.made("/hosts/h1/token")["enrol_token"]).made("/enrol", {})["token"])
    answer = agent.put("/hosts/h1/report", {"agent": AGENT, "traffic": wrong})
    assert answer.status_code == 422, answer.text
    assert two.viewer.get("/endpoints/acme/acme1/traffic").get_json()["counted_at"] is None


def test_pages_say_when_nothing_is_known(two: Site) -> None:  # noqa: F811
    eve = member(two, "eve", acme="viewer")
    assert "Nothing is known yet" in words(eve.open("/endpoints/acme/acme1"))
    assert not re.search("<svg[^>]*role=.img.[^>]*aria-label=.Received", eve.open("/endpoints/acme/acme1"))
