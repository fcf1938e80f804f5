"""The REST client: what reaches callers when things go well, and when they do not."""

from __future__ import annotations

import pytest

from client.rest import Problem, Rest, Unreachable
from tests.pure.scripted_api import HANG_UP, Answer, Asked, ScriptedApi


def test_a_list_is_followed_to_its_last_page() -> None:
    pages = {None: (["a", "b"], "1"), "1": (["c"], "2"), "2": (["d"], None)}

    def answer(asked: Asked) -> Answer:
        items, following = pages[asked.query.get("cursor")]
        return 200, {"items": items, "next": following}

    with ScriptedApi(answer) as api:
        assert list(Rest(api.url).items("/tenants", {"label": "app=web"})) == ["a", "b", "c", "d"]
        assert [asked.query["label"] for asked in api.asked] == ["app=web"] * 3


def test_a_refusal_carries_the_sentence_and_the_status() -> None:
    body = {
        "type": "/problems/conflict",
        "title": "In conflict",
        "status": 409,
        "detail": "Tenant acme exists already.",
    }
    with ScriptedApi(lambda _: (409, body)) as api, pytest.raises(Problem) as refused:
        Rest(api.url).post("/tenants", {"name": "acme"})
    assert (refused.value.status, refused.value.type) == (409, "/problems/conflict")
    assert str(refused.value) == "Tenant acme exists already."


def test_a_proxys_error_page_is_still_a_sentence() -> None:
    with ScriptedApi(lambda _: (502, b"<html>Bad gateway</html>")) as api, pytest.raises(Problem, match="answered 502"):
        Rest(api.url).get("/tenants")


def test_something_that_is_not_the_api_is_named_so() -> None:
    with ScriptedApi(lambda _: (200, b"<html>hello</html>")) as api, pytest.raises(Unreachable, match="not speak JSON"):
        Rest(api.url).get("/tenants")


def test_nobody_listening_is_one_sentence_with_the_address() -> None:
    with ScriptedApi(lambda _: (200, {})) as api:
        url = api.url
    with pytest.raises(Unreachable, match=f"{url} is not reachable \\(connection refused\\)"):
        Rest(url).get("/tenants")


def test_requests_share_one_connection() -> None:
    with ScriptedApi(lambda _: (200, {})) as api:
        rest = Rest(api.url)
        for _ in range(3):
            rest.get("/whoami")
        assert len({asked.peer for asked in api.asked}) == 1


@pytest.mark.parametrize(
    ("method", "headers", "times"),
    [("GET", {}, 2), ("DELETE", {}, 2), ("POST", {"Idempotency-Key": "k"}, 2), ("POST", {}, 1), ("PATCH", {}, 1)],
)
def test_only_what_may_be_repeated_is_sent_again_on_a_broken_connection(
    method: str, headers: dict[str, str], times: int
) -> None:
    """A server that restarts closes kept-alive connections under its clients."""
    with ScriptedApi(lambda _: HANG_UP) as api:
        with pytest.raises(Unreachable, match="closed the connection"):
            Rest(api.url).request(method, "/tenants", json={}, headers=headers)
        assert len(api.asked) == times


def test_the_token_is_a_bearer_and_the_path_is_below_the_api_however_the_address_was_given() -> None:
    with ScriptedApi(lambda _: (200, {})) as api:
        for address in (api.url, api.url + "/", api.url + "/api/v1", api.url + "/api/v1/"):
            Rest(address, "wrn_1_x").get("/whoami")
        assert {asked.path for asked in api.asked} == {"/api/v1/whoami"}
        assert {asked.headers["authorization"] for asked in api.asked} == {"Bearer wrn_1_x"}


@pytest.mark.parametrize("address", ["", "warren.example", "ftp://warren.example", "http://"])
def test_what_is_no_address_is_refused_with_its_value(address: str) -> None:
    with pytest.raises(Unreachable, match=f"'{address}' is not an API address"):
        Rest(address)
