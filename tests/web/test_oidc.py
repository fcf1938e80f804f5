"""Log-in at an OpenID Connect provider: with a true answer to our own question, and with nothing else."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from db import bindings, groups, users
from db.changes import transaction
from tests.web.conftest import PASSWORD, Site
from tests.web.provider import CLIENT, SECRET, IdProvider
from web.app import create_app
from web.auth import oidc
from web.auth.oidc_options import chosen
from web.state import KEY

BASE = "https://warren.example"


@pytest.fixture
def provider() -> Iterator[IdProvider]:
    provider = IdProvider()
    yield provider
    provider.close()


@pytest.fixture
def there(site: Site, provider: IdProvider) -> Iterator[Site]:
    """A site at which people may log in with the provider."""
    settings = oidc.Settings(provider.issuer, CLIENT, BASE, SECRET, label="the company")
    app = create_app(str(site.engine.url), sign_in_at=settings)
    yield site._replace(app=app)
    app.extensions[KEY].live.close()
    app.extensions[KEY].engine.dispose()


def begin(browser: FlaskClient, onward: str = "") -> str:
    answer = browser.get(f"/login/oidc?next={onward}", base_url=BASE)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def come_back(browser: FlaskClient, provider: IdProvider) -> TestResponse:
    return browser.get(provider.authorize(begin(browser)), base_url=BASE)


def whoami(browser: FlaskClient) -> Any:
    return browser.get("/api/v1/whoami", base_url=BASE).get_json()


def test_one_click_and_one_is_where_one_wanted_to_be(there: Site, provider: IdProvider) -> None:
    browser = there.browser()
    assert "Log in with the company" in browser.get("/login", base_url=BASE).text
    answer = browser.get(provider.authorize(begin(browser, "/hosts")), base_url=BASE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/hosts")
    assert [whoami(browser)[field] for field in ("kind", "name", "role")] == ["user", "ada", "member"]
    cookies = answer.headers.getlist("Set-Cookie")
    assert any(
        cookie.startswith("__Host-warren=") and "Secure" in cookie and "HttpOnly" in cookie for cookie in cookies
    )
    entries = there.admin.get("/audit?oldest_first=true").get_json()["items"]
    assert [(one["noun"], one["op"], one["name"]) for one in entries] == [
        ("user", "create", "ada"), ("session", "login", "ada"),
    ]  # fmt: skip
    assert entries[1]["after"] == {"method": "oidc"}


def test_groups_of_the_provider_are_groups_here_and_give_roles(there: Site, provider: IdProvider) -> None:
    there.admin.made("/tenants", {"name": "acme"})
    with transaction(there.engine) as tx:
        users.create(tx, "boss", role="admin")
        for name in ("netops", "shop"):
            groups.create(tx, name)
        bindings.grant(tx, "viewer", group="netops")
        bindings.grant(tx, "operator", group="shop", tenant="acme")
    provider.person["groups"] = ["netops", "shop", "unknown here"]
    browser = there.browser()
    come_back(browser, provider)
    assert (whoami(browser)["role"], whoami(browser)["tenants"]) == ("viewer", {"acme": "operator"})
    provider.person["groups"] = ["shop"]
    come_back(browser, provider)
    assert (whoami(browser)["role"], whoami(browser)["tenants"]) == ("member", {"acme": "operator"})
    del provider.person["groups"]  # nothing is said of groups
    come_back(browser, provider)
    assert whoami(browser)["tenants"] == {"acme": "operator"}


def test_a_person_is_known_by_number_and_nobody_takes_anothers_name(there: Site, provider: IdProvider) -> None:
    with transaction(there.engine) as tx:
        users.create(tx, "admin", PASSWORD, role="admin")
        users.create(tx, "eve")
    first = there.browser()
    come_back(first, provider)
    provider.person["preferred_username"] = "ada.married@example.org"
    come_back(first, provider)
    assert whoami(first)["name"] == "ada"
    for name in ("admin", "ada"):  # has a password; is somebody else
        provider.person = {"sub": "1002", "preferred_username": name}
        answer = come_back(there.browser(), provider)
        assert answer.status_code == 403 and f"user name {name} belongs to somebody else" in answer.text
    provider.person = {"sub": "1003", "preferred_username": "Eve@example.org"}  # was made here for whoever comes
    browser = there.browser()
    come_back(browser, provider)
    assert whoami(browser)["name"] == "eve"
    provider.person = {"sub": "1004", "preferred_username": "no name!"}
    assert "not a DNS label" in come_back(there.browser(), provider).text


def test_what_a_log_in_changes_is_told_as_who_that_is_here(there: Site, provider: IdProvider) -> None:
    """And not as the provider calls the person now, which may be another's name."""
    with transaction(there.engine) as tx:
        users.create(tx, "root", PASSWORD, role="admin")
        groups.create(tx, "shop")
    come_back(there.browser(), provider)
    provider.person |= {"preferred_username": "root", "groups": ["shop"]}
    come_back(there.browser(), provider)
    (joined,) = there.admin.get("/audit?noun=group").get_json()["items"]
    assert joined["after"]["members"] == ["ada"]
    assert joined["actor"] == {"kind": "user", "name": "ada"}


def test_an_answer_works_once_and_in_the_browser_that_asked(there: Site, provider: IdProvider) -> None:
    browser, thief = there.browser(), there.browser()
    back = provider.authorize(begin(browser))
    assert thief.get(back, base_url=BASE).status_code == 403  # has not the browser's secret
    begin(thief)
    assert thief.get(back, base_url=BASE).status_code == 403  # has another's
    assert browser.get(back, base_url=BASE).status_code == 303
    again = browser.get(back, base_url=BASE)
    assert again.status_code == 403 and "finished already" in again.text
    for query in ("", "?code=x", "?state=x", "?code=x&state=x"):
        assert browser.get(f"/login/oidc/callback{query}", base_url=BASE).status_code == 403
    refused = [one for one in there.admin.get("/audit?noun=session").get_json()["items"] if one["op"] == "refuse"]
    assert len(refused) == 7 and {one["after"]["method"] for one in refused} == {"oidc"}


def test_a_log_in_that_took_too_long_is_over(there: Site, provider: IdProvider) -> None:
    browser = there.browser()
    back = provider.authorize(begin(browser))
    with there.engine.begin() as connection:
        connection.execute(text("UPDATE oidc_login SET expires_at = '2026-01-01 00:00:00+00:00'"))
    assert browser.get(back, base_url=BASE).status_code == 403


def test_a_session_from_before_is_over(there: Site, provider: IdProvider) -> None:
    browser = there.browser()
    come_back(browser, provider)
    before = browser.get_cookie("__Host-warren", domain="warren.example")
    come_back(browser, provider)
    thief = there.browser()
    assert before is not None
    thief.set_cookie("__Host-warren", before.value, domain="warren.example")
    assert thief.get("/api/v1/whoami", base_url=BASE).status_code == 401


def setting(**claims: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.update(claims)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (setting(nonce="another"), "nonce"),
        (lambda claims: claims.pop("nonce"), "nonce"),
        (setting(aud="somebody-else"), "not taken"),
        (setting(aud=[CLIENT, "somebody-else"], azp="somebody-else"), "another client"),
        (setting(iss="https://evil.example"), "not taken"),
        (setting(exp=int(time.time()) - 86_400), "not taken"),
        (setting(iat=int(time.time()) + 86_400), "not taken"),
        (lambda claims: claims.pop("sub"), "not taken"),
        (lambda claims: claims.pop("exp"), "not taken"),
        (lambda claims: claims.pop("preferred_username"), "has no preferred_username"),
        (setting(groups="admins"), "not a list of names"),
    ],
)
def test_a_token_that_does_not_fit_is_refused(
    there: Site, provider: IdProvider, spoil: Callable[[dict[str, Any]], Any], said: str
) -> None:
    provider.spoil = spoil
    browser = there.browser()
    answer = come_back(browser, provider)
    assert answer.status_code == 403 and said in answer.text
    assert browser.get("/api/v1/whoami", base_url=BASE).status_code == 401


def test_a_token_that_somebody_else_signed_is_refused(there: Site, provider: IdProvider) -> None:
    provider.signs_with = rsa.generate_private_key(65537, 2048)
    assert come_back(there.browser(), provider).status_code == 403
    provider.signs_with, provider.algorithm = SECRET.encode() * 2, "HS256"  # what a client knows signs nothing
    assert "signed with &#39;HS256&#39;" in come_back(there.browser(), provider).text
    provider.signs_with, provider.algorithm = None, "none"
    real = provider.key
    provider.key = None  # type: ignore[assignment]
    assert "signed with &#39;none&#39;" in come_back(there.browser(), provider).text
    provider.key, provider.algorithm = real, "RS256"
    assert come_back(there.browser(), provider).status_code == 303


def test_new_keys_are_found_and_unknown_ones_do_not_make_us_ask_for_ever(there: Site, provider: IdProvider) -> None:
    assert come_back(there.browser(), provider).status_code == 303
    before, provider.key_id = provider.key_id, "unknown"
    state = there.app.extensions[KEY]
    provider.public_key = dict  # type: ignore[method-assign]
    for _ in range(3):
        assert "does not show" in come_back(there.browser(), provider).text
    assert provider.asked.count("/keys") == 1  # looked just now
    provider.key_id = before
    del provider.public_key
    provider.roll()
    state.provider._keys = (0.0, state.provider._keys[1])
    assert come_back(there.browser(), provider).status_code == 303
    assert provider.asked.count("/keys") == 2


def test_what_the_provider_refuses_is_said(there: Site, provider: IdProvider) -> None:
    browser = there.browser()
    state = provider.authorize(begin(browser)).rpartition("state=")[2]
    path = f"/login/oidc/callback?state={state}&error=access_denied&error_description=Not+today"
    assert "Not today" in browser.get(path, base_url=BASE).text
    browser = there.browser()
    back = provider.authorize(begin(browser))
    provider.codes.clear()
    assert "invalid_grant" in browser.get(back, base_url=BASE).text
    browser = there.browser()
    back = provider.authorize(begin(browser))
    assert "another provider" in browser.get(f"{back}&iss=https://evil.example", base_url=BASE).text


def test_a_provider_that_is_away_or_is_another_is_said_to_be(site: Site, provider: IdProvider) -> None:
    provider.metadata = lambda: {"issuer": "https://other.example"}  # type: ignore[method-assign]
    for issuer, said in ((provider.issuer, "calls itself"), ("http://127.0.0.1:9", "not reachable")):
        app = create_app(str(site.engine.url), sign_in_at=oidc.Settings(issuer, CLIENT, BASE))
        answer = app.test_client().get("/login/oidc", base_url=BASE)
        assert answer.status_code == 403 and said in answer.text
        assert app.test_client().get("/login").status_code == 200
        app.extensions[KEY].engine.dispose()
    assert site.browser().get("/login/oidc").status_code == 404
    assert "Log in with" not in site.browser().get("/login").text


def test_nobody_is_sent_elsewhere_and_our_address_is_not_the_askers_to_choose(
    there: Site, provider: IdProvider
) -> None:
    browser = there.browser()
    where = browser.get("/login/oidc?next=https://evil.example/", base_url=BASE, headers={"Host": "evil.example"})
    assert "redirect_uri=https%3A%2F%2Fwarren.example%2Flogin" in where.headers["Location"]
    browser = there.browser()
    assert browser.get(provider.authorize(begin(browser, "//evil.example")), base_url=BASE).headers["Location"] == "/"


def test_options() -> None:
    none = {f"oidc_{name}": None for name in ("issuer", "client_id", "public_url", "secret_file", "ca_file")}
    assert chosen(**none) is None
    given = none | {"oidc_issuer": "https://id.example", "oidc_client_id": "w", "oidc_public_url": BASE}
    found = chosen(**given)
    assert found is not None and found.redirect_uri == f"{BASE}/login/oidc/callback"
    for change, said in (
        ({"oidc_client_id": None}, "--oidc-client-id, too"),
        ({"oidc_issuer": "http://id.example"}, "https://"),
        ({"oidc_public_url": "warren.example"}, "https://"),
    ):
        with pytest.raises(click.UsageError, match=said):
            chosen(**given | change)


def test_what_is_encoded_is_what_is_meant() -> None:
    """The provider of these tests signs real tokens: header and body are as RFC 7519 has them."""
    provider = IdProvider()
    question = oidc.Question.new()
    settings = oidc.Settings(provider.issuer, CLIENT, BASE, SECRET)
    real = oidc.Provider(settings)
    code = provider.authorize(real.address(question)).partition("code=")[2].partition("&")[0]
    token = real._exchanged(code, question.verifier)
    head = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert head["alg"] == "RS256" and head["kid"] == provider.key_id
    provider.close()
