"""Answers are compressed for who takes it, and say the same."""

from __future__ import annotations

import gzip
import json

from tests.web.conftest import Site

GZIP = {"Accept-Encoding": "gzip"}


def test_a_list_is_packed_and_says_the_same(site: Site) -> None:
    for number in range(9):
        site.admin.made("/tenants", {"name": f"t{number}"})
    plain = site.admin.get("/tenants")
    packed = site.admin.get("/tenants", headers=GZIP)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert len(packed.data) * 4 < len(plain.data)
    assert int(packed.headers["Content-Length"]) == len(packed.data)
    assert gzip.decompress(packed.data) == plain.data


def test_the_version_of_a_packed_object_still_counts(site: Site) -> None:
    site.admin.made("/tenants", {"name": "acme", "labels": {f"key{number}": "v" * 60 for number in range(20)}})
    packed = site.admin.get("/tenants/acme", headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["ETag"] == f'"{json.loads(gzip.decompress(packed.data))["version"]}"'
    seen = {"If-Match": packed.headers["ETag"], **GZIP}
    assert site.admin.patch("/tenants/acme", {"labels": {"key0": None}}, headers=seen).status_code == 200
    assert site.admin.patch("/tenants/acme", {"labels": {"key1": None}}, headers=seen).status_code == 412


def test_what_is_small_created_or_refused_stays(site: Site) -> None:
    labels = {f"key{number}": "v" * 60 for number in range(20)}
    made = site.admin.post("/tenants", {"name": "acme", "labels": labels}, headers=GZIP)
    assert made.status_code == 201 and len(made.data) > 1000
    for answer in (made, site.admin.get("/whoami", headers=GZIP), site.admin.get("/tenants/none", headers=GZIP)):
        assert "Content-Encoding" not in answer.headers
        assert answer.get_json()


def test_the_description_is_packed(site: Site) -> None:
    browser = site.browser()
    packed = browser.get("/openapi.json", headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == browser.get("/openapi.json").data
