"""Users, sessions, tokens and kept replies: no secret is in the database, and each opens only what it should."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Engine, select

from db import bindings, idempotency, sessions, tokens, users
from db.changes import transaction
from db.engine import reading
from db.errors import Conflict, Invalid, NotFound, Unauthenticated
from db.idempotency import Reply
from db.tables import KeptReply, LoginSession, Token, User, utcnow
from tests.db import steps


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(users, "hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    users._nobody.cache_clear()
    yield
    users._nobody.cache_clear()


def test_a_password_is_hashed_and_opens_only_its_user(engine: Engine) -> None:
    with transaction(engine) as tx:
        users.create(tx, "ada", "correct horse", role="admin")
    with reading(engine) as session:
        stored = session.execute(select(User.password)).scalar_one()
        assert stored.startswith("$argon2id$") and "correct horse" not in stored
        assert (user := users.authenticate(session, "ada", "correct horse")) and bindings.grants_of(
            session, user.id
        ).cluster == "admin"
        assert users.authenticate(session, "ada", "wrong horse") is None
        assert users.authenticate(session, "eve", "nobody has this password") is None
    with pytest.raises(Conflict, match="user ada exists already"), transaction(engine) as tx:
        users.create(tx, "ada", "correct horse")
    with pytest.raises(Invalid, match="the password is too short; use at least 8"), transaction(engine) as tx:
        users.create(tx, "bob", "short")


def test_a_session_ends_by_logging_out_and_by_time(engine: Engine) -> None:
    with transaction(engine) as tx:
        ada = users.create(tx, "ada", "correct horse")
        first, second = sessions.create(tx, ada), sessions.create(tx, ada)
    with reading(engine) as session:
        assert (found := sessions.user_of(session, first, utcnow())) and found.name == "ada"
        assert sessions.user_of(session, first, utcnow() + sessions.LIFETIME) is None
        assert sessions.user_of(session, "guess", utcnow()) is None
        assert first not in session.execute(select(LoginSession.hash)).scalars().all()
    with transaction(engine) as tx:
        sessions.end(tx, first)
    with reading(engine) as session:
        assert sessions.user_of(session, first, utcnow()) is None
        assert sessions.user_of(session, second, utcnow())
    with transaction(engine) as tx:
        sessions.end_all(tx, ada)
    with reading(engine) as session:
        assert sessions.user_of(session, second, utcnow()) is None


def test_only_a_digest_of_a_token_is_kept(engine: Engine) -> None:
    with transaction(engine) as tx:
        row, text = tokens.create(tx, "admin", name="ci")
    secret = text.rsplit("_", 1)[1]
    assert text == f"wrn_{row.id}_{secret}" and len(secret) == 64
    with reading(engine) as session:
        stored = session.execute(select(Token.__table__)).mappings().one()
        assert secret not in str(stored)
        assert tokens.verify(session, text, utcnow()).name == "ci"


@pytest.mark.parametrize("spoil", ["", "wrn_", "wrn_1_", "wrn_999_{s}", "wrn_{i}_{z}", "{i}_{s}", "wrn_{i}_{s}0"])
def test_a_wrong_token_opens_nothing(engine: Engine, spoil: str) -> None:
    with transaction(engine) as tx:
        row, text = tokens.create(tx, "admin", name="ci")
    wrong = spoil.format(i=row.id, s=text.rsplit("_", 1)[1], z="0" * 64)
    with reading(engine) as session, pytest.raises(Unauthenticated, match="the token is not valid"):
        tokens.verify(session, wrong, utcnow())


def test_a_token_ends_by_time_and_by_revoking(engine: Engine) -> None:
    with transaction(engine) as tx:
        row, text = tokens.create(tx, "viewer", name="ci", expires_at=utcnow() + timedelta(hours=1))
    with reading(engine) as session:
        assert tokens.verify(session, text, utcnow())
        with pytest.raises(Unauthenticated, match="token ci expired at"):
            tokens.verify(session, text, utcnow() + timedelta(hours=2))
    with transaction(engine) as tx:
        tokens.revoke(tx, row.id)
    with reading(engine) as session, pytest.raises(Unauthenticated):
        tokens.verify(session, text, utcnow())
    with pytest.raises(NotFound, match=f"there is no token {row.id}"), transaction(engine) as tx:
        tokens.revoke(tx, row.id)


def test_an_agents_token_is_bound_to_a_host(engine: Engine) -> None:
    with pytest.raises(Invalid, match="a token for role agent is bound to a host"), transaction(engine) as tx:
        tokens.create(tx, "agent", name="loose")


def test_a_create_that_is_sent_twice_gets_the_same_reply(engine: Engine) -> None:
    with transaction(engine) as tx:
        assert idempotency.recall(tx.session, "token:1", "key", "digest", tx.now) is None
        tx.record("tenant", 1, "create")
        idempotency.keep(tx, "token:1", "key", "digest", lambda revision: Reply(201, {"revision": revision}))
    with reading(engine) as session:
        kept = idempotency.recall(session, "token:1", "key", "digest", utcnow())
        assert kept == Reply(201, {"revision": tx.revision})
        assert idempotency.recall(session, "token:2", "key", "digest", utcnow()) is None
        assert idempotency.recall(session, "token:1", "key", "digest", utcnow() + timedelta(hours=25)) is None
        with pytest.raises(Invalid, match="idempotency key key was used for another request"):
            idempotency.recall(session, "token:1", "key", "other digest", utcnow())


def test_no_reply_is_kept_of_a_create_that_failed(engine: Engine) -> None:
    with pytest.raises(RuntimeError), transaction(engine) as tx:
        idempotency.keep(tx, "token:1", "key", "digest", lambda revision: Reply(201, {}))
        raise RuntimeError
    with reading(engine) as session:
        assert session.execute(select(KeptReply)).all() == []
    assert steps.revision(engine) == 0
