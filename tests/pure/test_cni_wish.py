"""Which network, which limits and whose addresses a call asks for; and its place among other plugins."""

from __future__ import annotations

from typing import Any

import pytest

from ovs_agent.cni import result, wish
from ovs_agent.cni.spec import CniError
from ovs_agent.netlink import shape
from tests.pure.test_cni_spec import ENDPOINT, asked, call, refusal

POD = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop-eu;K8S_POD_NAME=web-7d4f"
RULES = [
    {"when": {"K8S_POD_NAMESPACE": "kube-*"}, "network": "infra/system"},
    {"when": {"K8S_POD_NAMESPACE": "shop-*", "K8S_POD_NAME": "db*"}, "network": "shop/db"},
    {"when": {"K8S_POD_NAMESPACE": "shop-*"}, "network": "shop/{K8S_POD_NAMESPACE}"},
    {"when": {"NOMAD_JOB_ID": "batch"}, "network": "acme/batch"},
]


@pytest.mark.parametrize(
    ("arguments", "network"),
    [
        (POD, "shop/shop-eu"),
        (POD.replace("web-7d4f", "db-0"), "shop/db"),
        ("K8S_POD_NAMESPACE=kube-system", "infra/system"),
        ("NOMAD_NAMESPACE=default;NOMAD_JOB_ID=batch", "acme/batch"),
    ],
)
def test_the_first_rule_that_fits_says_the_network(arguments: str, network: str) -> None:
    assert asked({"network": None, "rules": RULES}, CNI_ARGS=arguments)["network"] == network
    assert asked({"network": "acme/web", "rules": RULES}, CNI_ARGS=arguments)["network"] == "acme/web"


def test_a_container_for_which_there_is_no_rule_is_refused() -> None:
    fault = refusal({"network": None, "rules": RULES}, CNI_ARGS="NOMAD_JOB_ID=web")
    assert fault.code == 7 and "NOMAD_JOB_ID 'web'" in fault.msg and "rules" in fault.msg


@pytest.mark.parametrize(
    "rules", ["shop", [7], [{"when": "x"}], [{"when": {"A": 1}}], [{}], [{"network": "{NONE}/web"}], [{"network": 1}]]
)
def test_a_wrong_rule_is_refused(rules: Any) -> None:
    assert refusal({"network": None, "rules": rules}).code == 7
    if rules != [{"network": "{NONE}/web"}]:  # only who comes under a rule can say whether its text is filled in
        fault = refusal({"network": "acme/web", "rules": rules})
        assert fault.code == 7 and "'rules" in fault.msg


def test_pairs_of_the_arguments_fill_a_network_in() -> None:
    assert asked({"network": "{K8S_POD_NAMESPACE}/web"}, CNI_ARGS=POD)["network"] == "shop-eu/web"
    assert "Shop" in refusal({"network": "{T}/web"}, CNI_ARGS="T=Shop").msg


def bandwidth(config: Any) -> tuple[int, ...]:
    return tuple(wish.bandwidth(call(config)))


def test_limits_come_from_the_runtime_or_the_configuration() -> None:
    lower = {"ingressRate": 1000, "ingressBurst": 2000, "egressRate": 3000, "egressBurst": 4000}
    of_containerd = {"IngressRate": 10_000_000, "IngressBurst": 4294967295, "EgressRate": 0, "EgressBurst": 0}
    assert bandwidth({"runtimeConfig": {"bandwidth": lower}}) == (1000, 2000, 3000, 4000)
    assert bandwidth({"runtimeConfig": {"bandwidth": of_containerd}}) == (10_000_000, 4294967295, 0, 0)
    assert bandwidth({"bandwidth": lower}) == (1000, 2000, 3000, 4000)
    assert bandwidth({"bandwidth": lower, "runtimeConfig": {"bandwidth": of_containerd}})[0] == 10_000_000
    assert bandwidth({}) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "said", [7, {"ingressRate": "1M"}, {"ingressRate": -1}, {"ingressRate": 1}, {"egressBurst": 1}, {"egressRate": 1e3}]
)
def test_wrong_limits_are_refused(said: Any) -> None:
    with pytest.raises(CniError, match="bandwidth") as raised:
        bandwidth({"runtimeConfig": {"bandwidth": said}})
    assert raised.value.code == 7


@pytest.mark.parametrize("rate", [1, 8_000, 10**7, 10**9, 1 << 53])
@pytest.mark.parametrize("burst", [1, 16_000, 4294967295, 1 << 53])
def test_limits_fit_the_kernel_and_let_a_packet_pass(rate: int, burst: int) -> None:
    found = shape.parameters(rate, burst, 1450)
    assert found["burst"] >= 1464 and found["limit"] >= found["burst"] and all(0 < n < 1 << 32 for n in found.values())
    assert found["burst"] == 1464 or shape.TICKS * found["burst"] / found["rate"] < 1 << 32


def test_a_chain_keeps_what_the_plugins_before_answered() -> None:
    before = {
        "interfaces": [{"name": "lo"}],
        "ips": [{"address": "127.0.0.1/8", "interface": 0}],
        "routes": [{"dst": "192.0.2.0/24"}],
        "dns": {"nameservers": ["192.0.2.53"]},
    }
    answer = result.attached(call({"prevResult": before}), ENDPOINT, "fe:00:00:00:00:01", ENDPOINT.gateways[:1])
    assert [one["name"] for one in answer["interfaces"]] == ["lo", "wrn7", "eth0"]
    assert [one["interface"] for one in answer["ips"]] == [0, 2, 2]
    assert [one["dst"] for one in answer["routes"]] == ["192.0.2.0/24", "0.0.0.0/0"]
    assert answer["dns"] == before["dns"]


@pytest.mark.parametrize("broken", [7, {"ips": 7}, {"ips": [7]}, {"routes": {}}, {"interfaces": "x"}, {"dns": []}])
def test_a_broken_previous_result_is_refused(broken: Any) -> None:
    for command in ("ADD", "CHECK"):
        fault = refusal({"prevResult": broken}, CNI_COMMAND=command)
        assert fault.code == 7 and "prevResult" in fault.msg


BRIDGE = {"type": "bridge", "network": None, "ipam": {"type": "warren", "network": "acme/web"}}


def test_under_another_plugin_the_network_is_the_ipam_sections() -> None:
    found = call(BRIDGE)
    assert found.is_ipam and not found.delegate
    body = wish.attachment(found)
    assert (body["network"], body["netns"], body["mac"]) == ("acme/web", "", None)
    assert asked({**BRIDGE, "runtimeConfig": {"ips": ["10.20.0.9"], "mac": "02:aa:00:00:00:01"}})["mac"] is None
    assert "'ipam.network'" in refusal({**BRIDGE, "ipam": {"type": "warren"}}).msg
    by_rule = {"type": "warren", "rules": [{"network": "acme/db"}]}
    assert asked({**BRIDGE, "ipam": by_rule})["network"] == "acme/db"


def test_an_ipam_answer_has_addresses_and_the_configurations_routes_alone() -> None:
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "10.30.0.0/16", "gw": "10.20.0.7"}]
    answer = result.addresses(call({**BRIDGE, "ipam": {**BRIDGE["ipam"], "routes": routes}}), ENDPOINT)  # type: ignore[dict-item]
    assert answer["ips"][0] == {"address": "10.20.0.9/24", "gateway": "10.20.0.1"}
    assert answer["routes"] == routes and "interfaces" not in answer
    assert result.addresses(call({**BRIDGE, "cniVersion": "0.4.0"}), ENDPOINT)["ips"][0]["version"] == "4"


def test_other_plugins_may_give_the_addresses() -> None:
    assert call({"ipam": {"type": "host-local"}}).delegate == "host-local"
    assert call({"ipam": {"type": "warren"}}).delegate == call({"ipam": {}}).delegate == call().delegate == ""
    answer = {
        "ips": [{"address": "10.20.0.9/24", "gateway": "10.20.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.30.0.0/16"}, {"dst": "::/0", "gw": "fd00::7"}],
        "dns": {"nameservers": ["192.0.2.53"]},
    }
    given = result.given(answer, "host-local")
    assert given.addresses == ("10.20.0.9/24",) and given.default
    assert given.routes == (("10.30.0.0/16", None), ("::/0", "fd00::7"))
    assert not result.given({}, "host-local").default
    assert wish.attachment(call({"ipam": {"type": "host-local"}}), given.addresses)["addresses"] == ["10.20.0.9/24"]
    said = result.attached(call(), ENDPOINT, "fe:00:00:00:00:01", ENDPOINT.gateways[:1], given)
    assert [one["dst"] for one in said["routes"]] == ["0.0.0.0/0", "10.30.0.0/16", "::/0"]
    assert said["dns"] == answer["dns"]
    for broken in ({"ips": [{"address": "x"}]}, {"ips": 7}, {"routes": [{"dst": "x"}]}, {"routes": [7]}):
        with pytest.raises(CniError, match="host-local"):
            result.given(broken, "host-local")


@pytest.mark.parametrize("name", ["../../bin/sh", "a/b", "a\\b", "\0"])
def test_a_plugin_is_a_name_not_a_path(name: str) -> None:
    assert refusal({"ipam": {"type": name}}).code == 7


@pytest.mark.parametrize(
    ("config", "mesh"),
    [
        ({}, False),
        ({"mesh": True}, True),
        ({"args": {"cni": {"mesh": True}}}, True),
        ({"mesh": True, "args": {"cni": {"mesh": False}}}, False),
    ],
)
def test_ports_are_published_by_all_hosts_where_the_container_or_else_the_network_says_so(
    config: Any, mesh: bool
) -> None:
    mappings = [{"hostPort": 8080, "containerPort": 80}]
    (one,) = wish.published(call({**config, "runtimeConfig": {"portMappings": mappings}}))
    assert one.get("mesh", False) is mesh


@pytest.mark.parametrize("config", [{"mesh": "yes"}, {"args": {"cni": {"mesh": 1}}}])
def test_a_mesh_that_is_neither_true_nor_false_is_refused(config: Any) -> None:
    with pytest.raises(CniError, match="mesh"):
        wish.published(call({**config, "runtimeConfig": {"portMappings": []}}))
