"""Log-in at somebody else's: OpenID Connect, the authorization code flow with PKCE (RFC 6749, RFC 7636, OIDC Core 1.0).

It decides whether an answer is one to our question, and what the provider says of whom. It refuses to know who that is
here and what may be done. Everything is fetched when it is needed first, so that we start without the provider.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import jwt
import urllib3
from urllib3 import exceptions as broken

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""With a key of two halves only: what a client knows signs nothing."""
LEEWAY_SECONDS = 60
KEPT_SECONDS = 3600.0
"""How long what the provider says of itself is believed."""
AGAIN_SECONDS = 30.0
"""Between looks for a key that was not there: nobody makes us ask for ever."""
PATIENCE_SECONDS = 10.0
MOST_BYTES = 1 << 20

Json = dict[str, Any]


class Refused(Exception):  # noqa: N818
    """No log-in follows from this; the text is a sentence."""


class Settings(NamedTuple):
    """`public_url` is our own root as browsers know it: it is never taken from a request. `name_claim` has the user's
    name, `groups_claim` a list of groups. `secret` is empty for a public client."""

    issuer: str
    client_id: str
    public_url: str
    secret: str = ""
    scopes: str = "openid profile"
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"
    label: str = "single sign-on"
    ca_file: str | None = None

    @property
    def redirect_uri(self) -> str:
        return f"{self.public_url.rstrip('/')}/login/oidc/callback"


class Question(NamedTuple):
    """What is kept between sending somebody off and their return."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Question:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


class Identity(NamedTuple):
    """What the provider says. `groups` is None when it says nothing of groups."""

    subject: str
    name: str
    groups: tuple[str, ...] | None


class Provider:
    """Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        tls = {"ca_certs": settings.ca_file} if settings.ca_file else {}
        self._http = urllib3.PoolManager(timeout=PATIENCE_SECONDS, retries=False, **tls)
        self._lock = Lock()
        self._said: tuple[float, Json] | None = None
        self._keys: tuple[float, dict[str | None, jwt.PyJWK]] = (0.0, {})

    def address(self, question: Question) -> str:
        """Where to send the browser."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(question.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.redirect_uri,
            "scope": self.settings.scopes,
            "state": question.state,
            "nonce": question.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        where = str(self._metadata()["authorization_endpoint"])
        return f"{where}{'&' if urlsplit(where).query else '?'}{urlencode(asked)}"

    def identity(self, question: Question, answer: Mapping[str, str]) -> Identity:
        """Who came back. `answer` are the query parameters with which the browser returned."""
        if "error" in answer:
            raise Refused(f"{self.settings.issuer} refused: {answer.get('error_description') or answer['error']}"[:200])
        # RFC 9207: an answer that another provider was made to give is not ours.
        if answer.get("iss", self.settings.issuer) != self.settings.issuer:
            raise Refused("The answer is another provider's; log in again.")
        if not answer.get("code"):
            raise Refused("The answer has no code; log in again.")
        return self._believed(self._exchanged(answer["code"], question.verifier), question.nonce)

    def _exchanged(self, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.settings.redirect_uri,
            "client_id": self.settings.client_id,
            "code_verifier": verifier,
        }
        if self.settings.secret:
            form["client_secret"] = self.settings.secret
        said = self._ask("POST", str(self._metadata()["token_endpoint"]), form)
        token = said.get("id_token")
        if not isinstance(token, str):
            raise Refused(f"{self.settings.issuer} sent no ID token; is `openid` among the scopes?")
        return token

    def _believed(self, token: str, nonce: str) -> Identity:
        own = self.settings
        try:
            head = jwt.get_unverified_header(token)
            if head.get("alg") not in ALGORITHMS:
                raise Refused(f"The ID token is signed with {head.get('alg')!r}, which is not taken.")
            claims: Json = jwt.decode(
                token,
                self._key(head.get("kid")).key,
                algorithms=[head["alg"]],
                audience=own.client_id,
                issuer=own.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "sub", "iss", "aud"]},
            )
        except jwt.PyJWTError as fault:
            raise Refused(f"The ID token of {own.issuer} is not taken: {fault}") from fault
        if not secrets.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Refused("The ID token answers another question (nonce); log in again.")
        if claims.get("azp", own.client_id) != own.client_id:
            raise Refused("The ID token was made for another client (azp).")
        name, groups = claims.get(own.name_claim), claims.get(own.groups_claim)
        if not isinstance(name, str) or not name:
            raise Refused(f"The ID token has no {own.name_claim}; name another claim with --oidc-name-claim.")
        if groups is not None and not (isinstance(groups, list) and all(isinstance(one, str) for one in groups)):
            raise Refused(f"{own.groups_claim} of the ID token is not a list of names.")
        return Identity(str(claims["sub"]), name, None if groups is None else tuple(groups))

    def _metadata(self) -> Json:
        """What the provider says of itself (OpenID Connect Discovery 1.0)."""
        with self._lock:
            if self._said is not None and self._said[0] > time.monotonic():
                return self._said[1]
        issuer = self.settings.issuer
        said = self._ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if said.get("issuer") != issuer:
            raise Refused(
                f"What answers at {issuer} calls itself {said.get('issuer')!r}; --oidc-issuer must say the same."
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if urlsplit(str(said.get(name, ""))).scheme not in ("https", urlsplit(issuer).scheme):
                raise Refused(f"{name} of {issuer} is {said.get(name)!r}, which is not HTTPS.")
        with self._lock:
            self._said = time.monotonic() + KEPT_SECONDS, said
        return said

    def _key(self, id: str | None) -> jwt.PyJWK:
        """Providers change keys now and then: one that is not known is looked for once more."""
        with self._lock:
            looked, keys = self._keys
        if id not in keys and (not keys or time.monotonic() > looked + AGAIN_SECONDS):
            found = self._ask("GET", str(self._metadata()["jwks_uri"]))
            keys = {
                key.key_id: key for key in jwt.PyJWKSet.from_dict(found).keys if key.public_key_use in (None, "sig")
            }
            with self._lock:
                self._keys = time.monotonic(), keys
        if id not in keys and not (id is None and len(keys) == 1):
            raise Refused(f"The ID token is signed with a key that {self.settings.issuer} does not show.")
        return keys[id] if id in keys else next(iter(keys.values()))

    def _ask(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Json:
        head = {"Accept": "application/json"}
        body = None
        if form is not None:
            head["Content-Type"], body = "application/x-www-form-urlencoded", urlencode(form)
        try:
            answer = self._http.request(method, url, headers=head, body=body, redirect=False, preload_content=False)
            data = answer.read(MOST_BYTES + 1, decode_content=True)
            answer.release_conn()
        except broken.HTTPError as fault:
            raise Refused(
                f"{self.settings.issuer} is not reachable: {type(fault).__name__}; try again later."
            ) from fault
        try:
            said = json.loads(data) if len(data) <= MOST_BYTES else None
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise Refused(f"{self.settings.issuer} answered {answer.status} without a JSON object.")
        if answer.status != 200:
            reason = said.get("error_description") or said.get("error") or answer.status
            raise Refused(f"{self.settings.issuer} refused: {reason}"[:200])
        return said
