"""The world that pages and previews share: as if made anew, and asked of the database once."""

from __future__ import annotations

import gc
from unittest.mock import patch

from controller.calc.known import owned
from db.engine import reading
from tests.web.conftest import Site
from tests.web.test_work import agent_of_a_network, attach, watched
from web.modelled import whole


def same(site: Site) -> None:
    with reading(site.engine) as session:
        assert site.state().modelled.now() == whole(session)


def test_it_follows_every_change_and_equals_one_that_is_made_anew(any_site: Site) -> None:
    same(any_site)
    agent, admin = agent_of_a_network(any_site), any_site.admin
    same(any_site)
    attach(agent, "web1")
    attach(agent, "web2")
    same(any_site)
    assert admin.patch("/endpoints/acme/web1", {"labels": {"app": "web"}}).status_code == 200
    assert admin.patch("/tenants/acme", {"labels": {"team": "red"}}).status_code == 200
    same(any_site)
    assert agent.delete("/hosts/h1/attachments/web1/eth0").status_code == 200
    admin.made("/tenants", {"name": "globex"})
    same(any_site)
    assert admin.delete("/tenants/globex").status_code == 200
    same(any_site)


def test_a_large_world_is_left_out_of_the_search_for_cycles(any_site: Site) -> None:
    attach(agent_of_a_network(any_site), "web1")
    gc.unfreeze()
    try:
        with reading(any_site.engine) as session:
            whole(session)
            assert gc.get_freeze_count() == 0
            with patch("web.modelled.MANY", 1):
                world = whole(session)
        assert gc.get_freeze_count() > len(world.endpoints)
    finally:
        gc.unfreeze()


def test_it_reads_what_changed_and_no_more(any_site: Site) -> None:
    agent = agent_of_a_network(any_site)
    attach(agent, "web1")
    modelled = any_site.state().modelled
    modelled.now()
    with watched(any_site.state().engine) as work:
        assert modelled.now() is modelled.now()
    assert len(work.statements) == 2, "\n".join(work.statements)
    attach(agent, "web2")
    with watched(any_site.state().engine) as work:
        modelled.now()
    # The revision twice, how far the log reaches, the log; the endpoint, its addresses and what else it may use.
    assert len(work.statements) == 6, "\n".join(work.statements)


def test_a_preview_takes_the_world_that_is_there(any_site: Site) -> None:
    agent = agent_of_a_network(any_site)
    attach(agent, "web1")
    any_site.state().modelled.now()
    attach(agent, "web2")
    with patch("web.modelled.whole", side_effect=AssertionError("the whole database was read")):
        assert any_site.admin.patch("/tenants/acme?dry_run=true", {"default_deny": ["ingress"]}).status_code == 200


def test_a_hosts_flows_are_made_once_and_anew_after_a_change(site: Site) -> None:
    agent = agent_of_a_network(site)
    attach(agent, "web1")
    modelled = site.state().modelled
    with patch("web.modelled.owned", wraps=owned) as made:
        world = modelled.now()
        (host,) = world.hosts
        first = modelled.program(world, host)
        assert modelled.program(modelled.now(), host) is first and made.call_count == 1
        attach(agent, "web2")
        world = modelled.now()
        flows = [flow for _, flow in modelled.program(world, host).flows]
        assert made.call_count == 2 and flows == list(owned(world, host)) and len(flows) > len(first.flows)
