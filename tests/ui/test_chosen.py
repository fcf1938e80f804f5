"""Several things at once: told of each what becomes of it, tried together, and then all of it or nothing."""

from __future__ import annotations

import re
from html import unescape

import pytest
from playwright.sync_api import expect
from werkzeug.test import TestResponse

from tests.ui.conftest import DESK, PHONE, Stage, attach, enrolled, faults, live, log_in
from tests.ui.visitor import Visitor, member, words
from tests.ui.visitor import faults as beside
from tests.web.conftest import Site


class Several(Visitor):
    def ask(self, path: str, names: list[str], status: int = 200, **more: object) -> TestResponse:
        answer = self.client.post(path, data={"name": names, **more}, headers=self.headers)
        assert answer.status_code == status, answer.text
        return answer

    def confirm_all(self, answer: TestResponse, status: int = 303) -> TestResponse:
        """Sends what the page holds to where the page says."""
        (action,) = re.findall(r'<form class="work wide" method="post" action="([^"]+)"', answer.text)
        data: dict[str, list[str]] = {}
        for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', answer.text):
            data.setdefault(name, []).append(unescape(value))
        sent = self.client.post(action, data=data, headers=self.headers)
        assert sent.status_code == status, sent.text
        return sent


@pytest.fixture
def many(two: Site) -> Several:
    """Besides acme and beta with an endpoint each, two tenants without any, of which one is joined with beta."""
    for name in ("gamma", "delta"):
        two.admin.made("/tenants", {"name": name})
    two.admin.post("/tenants/gamma/join", {"to": "beta"})
    return Several(two, two.admin.token)


def isolation(site: Site) -> dict[str, str]:
    return {one["name"]: one["isolation"] for one in site.admin.get("/tenants").get_json()["items"]}


def test_with_nothing_ticked_the_list_is_there_again_and_says_so(two: Site, many: Several) -> None:
    page = many.open("/tenants?q=mm&sort=-name")
    (back,) = re.findall(r'name="back" value="([^"]+)"', page)
    went = many.ask("/tenants/isolation", [], 303, back=back).headers["Location"]
    again = many.open(went)
    assert "Nothing is selected; tick some rows of the list." in words(again)
    assert 'id="tenant-gamma"' in again and 'id="tenant-beta"' not in again
    assert "sort=-name" in went and 'aria-sort="descending"' in again
    assert "Nothing is selected" not in page
    for elsewhere in ("//evil.example", "https://evil.example/"):
        assert many.ask("/tenants/isolation", [], 303, back=elsewhere).headers["Location"] == "/"


def test_each_list_offers_what_can_be_done_with_several(two: Site, many: Several) -> None:
    for noun, offers in (
        ("tenants", ["Label", "Isolate", "Make global", "Remove"]),
        ("networks", ["Label", "Remove"]),
        ("endpoints", ["Label", "Remove"]),
        ("hosts", ["Label", "Remove"]),
    ):
        page = many.open(f"/{noun}")
        assert re.findall(r"formaction=[^>]*>([\w ]+) chosen …", page) == offers
        assert 'aria-label="Choose ' in page
    viewer = Visitor(two, two.viewer.token)
    for noun in ("tenants", "networks", "endpoints", "hosts"):
        page = viewer.open(f"/{noun}")
        assert "chosen …" not in page and 'aria-label="Choose ' not in page


def test_tenants_are_isolated_together_and_who_is_so_already_stays(two: Site, many: Several) -> None:
    two.admin.made("/tenants", {"name": "system"})
    before = two.revision()
    answer = many.ask("/tenants/isolation", ["acme", "beta", "gamma", "system"])
    page = words(answer.text)
    assert "beta : It leaves gamma: their connections stop." in page
    assert "acme stays: nothing would change: it is so already" in page
    assert "gamma stays: nothing would change" in page  # once beta has left
    assert "1 tenant will be isolated, all of them or none. 3 tenants must stay for now." in page
    assert "system stays: " in page and two.revision() == before
    went = many.confirm_all(answer).headers["Location"]
    assert went == f"/changes/{two.revision()}?back=/tenants"
    assert isolation(two)["beta"] == isolation(two)["gamma"] == "own"


def test_what_becomes_reachable_is_told_of_all_together(two: Site, many: Several) -> None:
    answer = many.ask("/tenants/opening", ["acme", "beta"])
    page = words(answer.text)
    assert "acme/* to beta/* denied → allowed" in page and "beta : It is no longer joined with gamma." in page
    many.confirm_all(answer)
    assert isolation(two)["acme"] == isolation(two)["beta"] == "global"


def test_tenants_with_endpoints_stay_and_the_others_are_removed_all_or_none(two: Site, many: Several) -> None:
    answer = many.ask("/tenants/removal", ["acme", "gamma", "delta"])
    page = words(answer.text)
    assert "acme stays: Tenant acme has endpoints in acme/web; remove the endpoints first." in page
    assert "gamma : Its 1 network, its policies and the roles in it go, too. beta no longer reach it." in page
    assert "This cannot be undone." in page
    two.admin.patch("/tenants/delta", {"labels": {"new": "label"}})
    many.confirm_all(answer, 412)
    assert {"gamma", "delta"} <= isolation(two).keys()
    many.confirm_all(many.ask("/tenants/removal", ["gamma", "delta"]))
    assert not {"gamma", "delta"} & isolation(two).keys() and "acme" in isolation(two)
    page = words(many.ask("/tenants/removal", ["acme"]).text)
    assert "None of them can be removed now." in page and "<button" not in page


@pytest.mark.parametrize(
    ("noun", "names"),
    [
        ("tenants", ["acme", "beta"]),
        ("networks", ["acme/web", "beta/web"]),
        ("endpoints", ["acme/acme1", "beta/beta1"]),
        ("hosts", ["h1", "h2"]),
    ],
)
def test_labels_of_several_are_set_and_taken_away(two: Site, many: Several, noun: str, names: list[str]) -> None:
    two.enrolled("h2", "198.18.0.12")
    two.admin.patch(f"/{noun}/{names[0]}", {"labels": {"old": "x", "tier": "one"}})
    page = many.ask(f"/{noun}/labelling", names)
    assert "has old=x, tier=one now." in words(page.text) and "has no labels now." in words(page.text)
    asked = {"step": "preview", "labels": "tier=two old-"}
    page = many.ask(f"/{noun}/labelling", names, **asked)
    assert f"2 {noun} will be labelled" in words(page.text)
    many.confirm_all(page)
    for name in names:
        labels = two.admin.get(f"/{noun}/{name}").get_json()["labels"]
        assert labels["tier"] == "two" and "old" not in labels
    page = many.ask(f"/{noun}/labelling", names, **asked)
    assert words(page.text).count("nothing would change") == 2
    for wrong, said in (("nonsense", "write it like app=web"), ("a=b a-", "each once"), ("", "each once")):
        answer = many.ask(f"/{noun}/labelling", names, 422, step="preview", labels=wrong)
        assert said in beside(answer)["labels"]
    answer = many.ask(f"/{noun}/labelling", names, 422, step="preview", labels="a=not/a/value")
    assert "is not a label value" in beside(answer)["labels"] and "a=not/a/value" in answer.text


def test_hosts_are_removed_with_what_they_hold(two: Site, many: Several) -> None:
    two.enrolled("h2", "198.18.0.12")
    page = many.ask("/hosts/removal", ["h1", "h2"])
    said = words(page.text)
    assert "h1 : Its 2 endpoints and their addresses go, too." in said and "h2 : it holds no endpoints." in said
    assert "What goes acme/acme1 : nobody reaches it now" in said
    many.confirm_all(page)
    assert two.admin.get("/hosts").get_json()["items"] == []
    assert two.admin.get("/endpoints").get_json()["items"] == []


def test_tenants_people_do_it_with_their_own_only(two: Site, many: Several) -> None:
    eve, dan = (Several(two, None), Several(two, None))
    for one, name, role in ((eve, "eve", "admin"), (dan, "dan", "operator")):
        one.headers = member(two, name, acme=role).headers
    before = two.revision()
    for path in ("tenants/isolation", "tenants/opened", "tenants/labelling", "hosts/removal", "hosts/labelled"):
        eve.ask(f"/{path}", ["acme"], 403, version="1")
    for path in ("labelling", "labelled", "removal", "removed"):
        dan.ask(f"/networks/{path}", ["acme/web"], 403, version="1", labels="a=b", step="preview")
        for noun in ("networks/{}/web", "endpoints/{0}/{0}1"):
            kind, _, name = noun.partition("/")
            there, not_there = (
                eve.ask(f"/{kind}/{path}", [name.format(one)], 404, version="1", labels="a=b", step="preview").text
                for one in ("beta", "nowhere")
            )
            assert there.replace("beta", "nowhere") == not_there
    assert two.revision() == before
    dan.confirm_all(dan.ask("/endpoints/labelling", ["acme/acme1"], step="preview", labels="a=b"))
    assert two.admin.get("/endpoints/acme/acme1").get_json()["labels"] == {"a": "b"}


def test_nothing_chosen_and_too_many_are_refused(many: Several) -> None:
    many.ask("/tenants/isolation", [], 422)
    many.ask("/tenants/isolation", [f"t{number}" for number in range(101)], 422)
    many.ask("/tenants/isolation", ["acme", "nobody"], 404)
    many.ask("/tenants/isolated", ["acme"], 422)


def test_several_hosts_are_labelled_in_a_browser(stage: Stage) -> None:
    page = stage.page
    stage.admin.post("/tenants", {"name": "acme"})
    for name, address in (("h1", "198.18.0.11"), ("h2", "198.18.0.12")):
        attach(enrolled(stage, name, address), name, "acme/default", f"web-{name}")
    log_in(page)
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        page.goto("/hosts")
        live(page)
        assert faults(page) == []
        page.get_by_label("Choose h1").check()
        page.get_by_label("Choose h2").check()
        page.get_by_role("button", name="Label chosen").click()
        page.get_by_label("Labels").fill(f"rack=r{size['width']}")
        assert faults(page) == []
        page.get_by_role("button", name="Show what changes").click()
        expect(page.locator(".doomed li")).to_have_count(2)
        assert faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        page.get_by_role("button", name="Label 2").click()
        page.get_by_role("link", name="Go on").click()
        expect(page).to_have_url(f"{stage.server.url}/hosts")
        assert stage.admin.get("/hosts/h2").body["labels"] == {"rack": f"r{size['width']}"}
    page.goto("/hosts")
    page.get_by_label("Choose all shown").check()
    page.get_by_role("button", name="Remove chosen").click()
    expect(page.locator(".preview").first).to_contain_text("acme/web-h1")
    assert faults(page) == []
    page.get_by_role("button", name="Remove 2").click()
    expect(page).to_have_url(re.compile("/changes/"))
    page.go_back()
    expect(page).to_have_url(f"{stage.server.url}/hosts")
    page.go_forward()
    page.get_by_role("link", name="Go on").click()
    expect(page.locator(".empty")).to_contain_text("No hosts yet")
