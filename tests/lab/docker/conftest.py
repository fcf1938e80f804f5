"""One lab of two hosts with Docker for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.lab import Lab
from tests.lab.conftest import running
from tests.lab.docker.site import Site


@pytest.fixture(scope="package")
def engines() -> Iterator[Lab]:
    with running(2, engines=True) as lab:
        yield lab


@pytest.fixture
def site(engines: Lab) -> Iterator[Site]:
    site = Site(engines)
    yield site
    site.clear()
