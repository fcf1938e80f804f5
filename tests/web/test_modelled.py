"""The world that pages and previews share: as if made anew, and asked of the database once."""

from __future__ import annotations

import gc
from unittest.mock import patch

import pytest

from controller.calc.known import owned
from controller.pipeline.flow import Flow
from controller.pipeline.program import fragment
from db.engine import reading
from tests.web.conftest import Site
from tests.web.test_work import agent_of_a_network, attach, watched
from web.main import Server
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


def test_what_a_server_begins_with_is_left_out_of_the_search_for_cycles(any_site: Site) -> None:
    server = Server(any_site.engine.url.render_as_string(hide_password=False), ["127.0.0.1:0"], 20, {})
    gc.unfreeze()
    try:
        server.load()
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


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
    # The log with how far it reaches; the endpoint, its addresses and what else it may use.
    assert len(work.statements) == 4, "\n".join(work.statements)


def test_a_preview_takes_the_world_that_is_there(any_site: Site) -> None:
    agent = agent_of_a_network(any_site)
    attach(agent, "web1")
    any_site.state().modelled.now()
    attach(agent, "web2")
    with patch("web.modelled.whole", side_effect=AssertionError("the whole database was read")):
        assert any_site.admin.patch("/tenants/acme?dry_run=true", {"default_deny": ["ingress"]}).status_code == 200


def flows(site: Site, host: int) -> list[Flow]:
    """As they are kept; and they are those that are made anew."""
    program = site.state().modelled.program(host)
    assert program is not None and program.world == site.state().modelled.now()
    kept = [one.flow for _, one in program.flows]
    assert kept == [one.flow for one in owned(program.world, host)]
    assert [program.places[one.place] for _, one in program.flows] == list(range(len(kept)))
    return kept


def test_a_hosts_flows_are_made_once_and_follow_what_changes(site: Site) -> None:
    agent = agent_of_a_network(site)
    attach(agent, "web1")
    (host,) = site.state().modelled.now().hosts
    with patch("web.modelled.fragment", wraps=fragment) as made:
        first, all = flows(site, host), made.call_count
        assert flows(site, host) == first and made.call_count == all > 6
        attach(agent, "web2")
        assert len(flows(site, host)) > len(first)
        # The endpoint's own, and what its network says of itself.
        assert made.call_count - all < 6, made.call_args_list[all:]
        assert site.admin.patch("/tenants/acme", {"default_deny": ["ingress"]}).status_code == 200
        flows(site, host)
        assert agent.delete("/hosts/h1/attachments/web1/eth0").status_code == 200
        flows(site, host)
        assert made.call_count - all < 20, made.call_args_list[all:]


def test_hosts_flows_are_kept_for_those_that_were_looked_at_last_and_of_no_host_that_is_gone(site: Site) -> None:
    attach(agent_of_a_network(site), "web1")
    for number in range(2, 5):
        site.admin.made("/hosts", {"name": f"h{number}"})
    hosts, modelled = sorted(site.state().modelled.now().hosts), site.state().modelled
    for host in (*hosts, hosts[0], hosts[-1]):
        flows(site, host)
    with patch("web.modelled.program", side_effect=AssertionError("made again")):
        assert modelled.program(hosts[0]) and modelled.program(hosts[-1])
    assert site.admin.delete("/hosts/h4").status_code == 200
    assert modelled.program(hosts[-1]) is None and modelled.program(77) is None
    flows(site, hosts[0])


def test_flows_are_made_anew_after_a_step_that_broke(site: Site) -> None:
    agent = agent_of_a_network(site)
    attach(agent, "web1")
    (host,) = site.state().modelled.now().hosts
    flows(site, host)
    attach(agent, "web2")
    with patch("web.modelled.fragment", side_effect=KeyError("broken")), pytest.raises(KeyError):
        site.state().modelled.program(host)
    flows(site, host)
