"""A small OpenID Connect provider for tests: real HTTP, real keys, codes that work once; it misbehaves when told to."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "warren", "of warren and the provider"
Claims = dict[str, Any]


class Asked(NamedTuple):
    redirect_uri: str
    nonce: str
    challenge: str
    claims: Claims


class IdProvider:
    """`person` is who logs in next. `spoil` may change claims, `key` and `algorithm` say how they are signed."""

    def __init__(self) -> None:
        self.person: Claims = {"sub": "1001", "preferred_username": "ada"}
        self.spoil: Callable[[Claims], Any] = lambda claims: None
        self.roll()
        self.signs_with: Any = None
        self.algorithm = "RS256"
        self.codes: dict[str, Asked] = {}
        self.asked: list[str] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                if self.path == "/.well-known/openid-configuration":
                    self.answer(200, provider.metadata())
                elif self.path == "/keys":
                    self.answer(200, {"keys": [provider.public_key()]})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.answer(*provider.token({name: values[0] for name, values in parse_qs(body).items()}))

            def answer(self, status: int, body: Claims) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def roll(self) -> None:
        """Another key, under another name."""
        self.key = rsa.generate_private_key(65537, 2048)
        self.key_id = secrets.token_hex(4)

    def metadata(self) -> Claims:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }

    def public_key(self) -> Claims:
        found = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {**found, "kid": self.key_id, "use": "sig", "alg": "RS256"}

    def authorize(self, where: str) -> str:
        """What a browser does that is sent to `where` and logs in: the path with which it comes back."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}
        assert (query["response_type"], query["client_id"]) == ("code", CLIENT)
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe()
        self.codes[code] = Asked(query["redirect_uri"], query["nonce"], query["code_challenge"], dict(self.person))
        return f"{urlsplit(query['redirect_uri']).path}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str]) -> tuple[int, Claims]:
        asked = self.codes.pop(form["code"], None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if asked is None or form["redirect_uri"] != asked.redirect_uri or proof != asked.challenge:
            return 400, {"error": "invalid_grant"}
        if (form["client_id"], form["client_secret"]) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked.nonce, **asked.claims}
        self.spoil(claims)
        key = self.signs_with or self.key
        token = jwt.encode(claims, key, algorithm=self.algorithm, headers={"kid": self.key_id})
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
