"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pure.scripted_api import ScriptedApi


@pytest.fixture
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedApi]:
    """An API that answers as `answer` of the test's module does, and is the one that commands ask."""
    with ScriptedApi(request.module.answer) as serving:
        monkeypatch.setenv("WARREN_API", serving.url)
        monkeypatch.setenv("WARREN_TOKEN", "wrn_1_x")
        yield serving
