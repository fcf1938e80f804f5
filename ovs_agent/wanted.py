"""The long poll for what the API wants of this host, and asks of it.

It decides when to ask again, and that the last document is kept on disk: an agent that starts while the API is away
still mends the ports it knows of. What is done about a document, or answered to a question, is not its business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from logging import getLogger
from typing import Any

from client.rest import Problem, Rest, Unreachable
from ovs_agent.certificate import Certificate
from ovs_agent.document import Wanted
from ovs_agent.ledger import Ledger
from ovs_agent.state import State

log = getLogger(__name__)
POLL = 30
"""Seconds that the API may keep a question that it has no news for."""
PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before the first, second, ... attempt after a failure; the last stays."""


class Poll:
    """`changed` is called after each document, `answer` with the questions that come with one. `reached` is called when
    the API answers again after it did not."""

    def __init__(
        self,
        rest: Rest,
        host: str,
        state: State,
        ledger: Ledger,
        changed: Callable[[], None],
        reached: Callable[[], None],
        answer: Callable[[list[dict[str, Any]], list[dict[str, Any]]], None],
        certificate: Certificate,
    ) -> None:
        self._rest = rest
        self._path = f"/hosts/{host}/wanted"
        self._state = state
        self._ledger = ledger
        self._changed = changed
        self._reached = reached
        self._answer = answer
        self._certificate = certificate
        self._stopping = threading.Event()
        self._failures = 0
        self.trouble: str | None = "The API has not answered yet."

    def recall(self) -> None:
        """The document of the last run, if there is one."""
        self._ledger.ssl = self._certificate.ssl
        saved = self._state.wanted()
        if saved is None:
            return
        try:
            self._ledger.received(Wanted.parse(saved), fresh=False)
        except (KeyError, TypeError, ValueError):
            log.warning("the document kept in %s cannot be read; waiting for the API's", self._state.folder)

    def start(self) -> None:
        threading.Thread(target=self._run, name="wanted", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._ask()
            except (Unreachable, Problem) as fault:
                self._failed(str(fault))
            except Exception as fault:
                log.exception("the API's document cannot be used")
                self._failed(f"The API's document cannot be used: {fault!r}.")

    def _ask(self) -> None:
        after = self._ledger.revision
        # The first question is answered at once, so that a start does not wait for news.
        params = {"after": after, "wait": POLL} if after is not None and not self._failures else {"after": after}
        reply = self._rest.get(self._path, params=params, timeout=POLL + 10)
        if self.trouble is not None:
            log.info("the API at %s answers", self._rest.api)
            self.trouble, self._failures = None, 0
            self._reached()
        if reply.status == 204:
            self._certify()
            return
        questions, dumps = reply.body.pop("traces", []), reply.body.pop("dumps", [])
        if reply.body["revision"] != after:
            self._ledger.received(Wanted.parse(reply.body), fresh=True)
            self._certify()
            self._changed()
            self._state.save_wanted(reply.body)
        elif not (questions or dumps):
            self._stopping.wait(1.0)  # the same again: an API that answers too eagerly is not to be asked as eagerly
        self._answer(questions, dumps)

    def _certify(self) -> None:
        wanted, _ = self._ledger.knowledge()
        if wanted is not None and (ssl := self._certificate.refresh(wanted.controllers)):
            self._ledger.ssl = ssl
            self._changed()

    def _failed(self, sentence: str) -> None:
        if self.trouble != sentence:
            log.warning("%s", sentence)
        self.trouble = sentence
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        self._stopping.wait(pause)
