"""What a runtime's call means, and which code each mistake gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ovs_agent import by_hand
from ovs_agent.cni import install, result, spec, wish
from ovs_agent.cni.spec import CniError
from ovs_agent.docker import driver
from ovs_agent.document import Endpoint

ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "0123456789abcdef",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}
CONFIG = {"cniVersion": "1.0.0", "name": "warren", "type": "warren", "network": "acme/web"}
ENDPOINT = Endpoint(
    id=7,
    name="acme/web1",
    network="acme/web",
    ofport=107,
    port_name="wrn7",
    mac="02:00:0a:14:00:09",
    addresses=("10.20.0.9/24", "fd00:20::9/64"),
    gateways=("10.20.0.1", "fd00:20::1"),
    mtu=1450,
    route_mtu=1450,
    container_id="0123456789abcdef",
    ifname="eth0",
    netns="/run/netns/x",
)


def call(config: Any = None, **environment: str | None) -> spec.Call:
    merged = {key: value for key, value in {**ENVIRONMENT, **environment}.items() if value is not None}
    return spec.parse(merged, config if isinstance(config, str) else json.dumps({**CONFIG, **(config or {})}))


def asked(config: Any = None, **environment: str | None) -> dict[str, Any]:
    return wish.attachment(call(config, **environment))


def refusal(config: Any = None, **environment: str | None) -> CniError:
    with pytest.raises(CniError) as raised:
        asked(config, **environment)
    return raised.value


@pytest.mark.parametrize("missing", ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
def test_a_missing_variable_is_named(missing: str) -> None:
    for empty in (None, ""):
        fault = refusal(**{missing: empty})
        assert fault.code == 4 and missing in fault.msg


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CNI_COMMAND", "add"),
        ("CNI_CONTAINERID", "-starts-wrong"),
        ("CNI_CONTAINERID", "has/slash"),
        ("CNI_IFNAME", "sixteen-chars-16"),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "a/b"),
        ("CNI_IFNAME", "a:b"),
        ("CNI_IFNAME", "a b"),
        ("CNI_ARGS", "novalue"),
        ("CNI_ARGS", "=x"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(variable: str, value: str) -> None:
    fault = refusal(**{variable: value})
    assert fault.code == 4 and variable in fault.msg


@pytest.mark.parametrize("command", ["DEL", "GC", "STATUS", "VERSION"])
def test_only_what_makes_something_needs_a_namespace(command: str) -> None:
    assert call({"cniVersion": "1.1.0"}, CNI_COMMAND=command, CNI_NETNS=None).command == command


@pytest.mark.parametrize("stdin", ["", "{", "[]", '"text"', "null"])
def test_what_is_no_json_object_cannot_be_decoded(stdin: str) -> None:
    assert refusal(stdin).code == 6


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "1.2.0", "2.0.0", "", None, 1])
def test_an_unknown_version_is_incompatible(version: Any) -> None:
    fault = refusal({"cniVersion": version})
    assert fault.code == 1 and "1.1.0" in fault.msg


def test_no_version_means_the_first_one() -> None:
    config = {key: value for key, value in CONFIG.items() if key != "cniVersion"}
    fault = refusal(json.dumps(config))
    assert fault.code == 1 and "0.1.0" in fault.msg


@pytest.mark.parametrize(
    ("command", "before", "since"),
    [("CHECK", "0.3.1", "0.4.0"), ("STATUS", "1.0.0", "1.1.0"), ("GC", "1.0.0", "1.1.0")],
)
def test_a_command_needs_the_version_it_came_with(command: str, before: str, since: str) -> None:
    more = {"prevResult": {}}
    assert refusal({"cniVersion": before, **more}, CNI_COMMAND=command).code == 1
    assert call({"cniVersion": since, **more}, CNI_COMMAND=command).command == command


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"name": None}, "name"),
        ({"name": "a b"}, "name"),
        ({"network": None}, "network"),
        ({"network": "web"}, "network"),
        ({"network": "acme/Web"}, "network"),
        ({"network": "a/b/c"}, "network"),
        ({"network": 5}, "network"),
        ({"network": "acme/" + "w" * 64}, "network"),
        ({"ports": {"http": 80}}, "ports"),
        ({"ports": [80]}, "ports"),
        ({"ports": [{"name": "http"}]}, "ports"),
        ({"ports": [{"name": "http", "port": 0}]}, "ports"),
        ({"ports": [{"name": "http", "port": True}]}, "ports"),
        ({"ports": [{"name": "http", "port": 80, "protocol": "icmp"}]}, "ports"),
        ({"args": "x"}, "args"),
        ({"args": {"cni": []}}, "args.cni"),
        ({"args": {"cni": {"labels": {"app": "web"}}}}, "args.cni.labels"),
        ({"args": {"cni": {"labels": [{"key": "app"}]}}}, "args.cni.labels"),
        ({"args": {"cni": {"name": "Not A Label"}}}, "args.cni.name"),
        ({"args": {"cni": {"ips": ["10.20.0"]}}}, "args.cni.ips"),
        ({"runtimeConfig": {"ips": "10.20.0.9"}}, "runtimeConfig.ips"),
        ({"runtimeConfig": {"mac": "02-00-00-00-00-01"}}, "runtimeConfig.mac"),
    ],
)
def test_a_wrong_field_is_named_with_a_remedy(config: dict[str, Any], field: str) -> None:
    fault = refusal(config)
    assert fault.code == 7 and f"'{field}'" in fault.msg and "; give " in fault.msg


def test_check_needs_the_result_to_check_against() -> None:
    fault = refusal(CNI_COMMAND="CHECK")
    assert fault.code == 7 and "prevResult" in fault.msg


def test_what_warren_cannot_give_is_unsupported_by_name() -> None:
    for name, value in (("deviceID", "0000:04:00.5"), ("infinibandGUID", "c2:11"), ("ipRanges", [[{}]])):
        fault = refusal({"runtimeConfig": {name: value}})
        assert fault.code == 2 and name in fault.msg and json.dumps(value) in fault.msg
        assert asked({"runtimeConfig": {name: None}})["network"] == "acme/web"


def test_fields_that_runtimes_add_are_no_mistakes() -> None:
    more = {"capabilities": {"ips": True}, "dns": {}, "ipMasq": False, "runtimeConfig": {"portMappings": []}}
    assert asked(more)["network"] == "acme/web"


def test_a_pod_goes_to_its_namespaces_network_under_its_own_name() -> None:
    arguments = "IgnoreUnknown=1;K8S_POD_NAME=web-7d4f;K8S_POD_NAMESPACE=acme;K8S_POD_UID=1"
    body = asked({"network": None}, CNI_ARGS=arguments)
    assert (body["network"], body["name"]) == ("acme/default", "web-7d4f")


@pytest.mark.parametrize(
    ("pod", "explicit", "container", "name"),
    [
        ("My_Pod.1", None, "abc", "my-pod-1"),
        ("p" * 70, None, "abc", "p" * 63),
        ("p" * 62 + "-x", None, "abc", "p" * 62),
        ("---", "chosen", "abc", "chosen"),
        (None, "chosen", "abc", "chosen"),
        (None, None, "0123456789abcdef", "0123456789ab"),
        (None, None, "k8s.io-t1", "k8s-io-t1"),
    ],
)
def test_an_endpoint_is_named_after_pod_choice_or_container(
    pod: str | None, explicit: str | None, container: str, name: str
) -> None:
    arguments = f"K8S_POD_NAME={pod}" if pod else ""
    config = {"args": {"cni": {"name": explicit}}} if explicit else {}
    assert asked(config, CNI_ARGS=arguments, CNI_CONTAINERID=container)["name"] == name


def test_a_pods_further_interfaces_are_further_endpoints() -> None:
    arguments = f"K8S_POD_NAME={'p' * 63}"
    first, second = (asked(CNI_ARGS=arguments, CNI_IFNAME=ifname)["name"] for ifname in ("eth0", "net1"))
    assert first == "p" * 63 and second == "p" * 58 + "-net1"


def test_capabilities_win_over_arguments_and_both_over_the_environment() -> None:
    runtime = {"runtimeConfig": {"ips": ["10.20.0.1/24", "10.20.0.1"], "mac": "02:AA:00:00:00:01"}}
    conventions = {"args": {"cni": {"ips": ["10.20.0.2"]}}}
    arguments = "IP=10.20.0.3;MAC=02:00:00:00:00:03"
    everything = asked({**runtime, **conventions}, CNI_ARGS=arguments)
    assert (everything["addresses"], everything["mac"]) == (["10.20.0.1"], "02:aa:00:00:00:01")
    some = asked(conventions, CNI_ARGS=arguments)
    assert (some["addresses"], some["mac"]) == (["10.20.0.2"], "02:00:00:00:00:03")
    assert asked({}, CNI_ARGS=arguments)["addresses"] == ["10.20.0.3"]
    assert asked()["addresses"] is None and asked()["mac"] is None


def test_labels_and_ports_are_passed_on() -> None:
    body = asked(
        {
            "args": {"cni": {"labels": [{"key": "app", "value": "web"}]}},
            "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        }
    )
    assert body["labels"] == {"app": "web"}
    assert [(port["name"], port["protocol"]) for port in body["ports"]] == [("http", "tcp"), ("dns", "udp")]


@pytest.mark.parametrize("version", spec.SUPPORTED)
def test_results_keep_to_the_version_asked_for(version: str) -> None:
    answer = result.attached(call({"cniVersion": version}), ENDPOINT, "fe:00:00:00:00:01", ENDPOINT.gateways)
    assert answer["cniVersion"] == version
    assert [ip["address"] for ip in answer["ips"]] == list(ENDPOINT.addresses)
    assert [ip["gateway"] for ip in answer["ips"]] == list(ENDPOINT.gateways)
    assert [ip.get("version") for ip in answer["ips"]] == (["4", "6"] if version < "1.0.0" else [None, None])
    assert [interface.get("mtu") for interface in answer["interfaces"]] == [1450 if version >= "1.1.0" else None] * 2
    assert answer["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.20.0.1"}, {"dst": "::/0", "gw": "fd00:20::1"}]


def test_a_route_that_was_not_made_is_not_claimed() -> None:
    assert result.attached(call(), ENDPOINT, "fe:00:00:00:00:01", ())["routes"] == []


def test_an_error_is_told_in_the_version_that_was_asked_for() -> None:
    fault = CniError(7, "what is wrong", "more of it")
    expected = {"cniVersion": "0.4.0", "code": 7, "msg": "what is wrong", "details": "more of it"}
    assert spec.error(fault, spec.version_of('{"cniVersion": "0.4.0"}')) == expected
    assert spec.version_of("{") == spec.version_of('{"cniVersion": "9.9.9"}') == "1.1.0"


def test_gc_needs_the_list_of_what_is_in_use() -> None:
    listed = [{"containerID": "a", "ifname": "eth0"}]
    gc = call({"cniVersion": "1.1.0", "cni.dev/valid-attachments": listed}, CNI_COMMAND="GC")
    assert spec.valid_attachments(gc) == {("a", "eth0")}
    # As CRI-O says it of a network without pods: libcni marshals a list of Go's that nothing was put into.
    none = call({"cniVersion": "1.1.0", "cni.dev/valid-attachments": None}, CNI_COMMAND="GC")
    assert spec.valid_attachments(none) == set()
    with pytest.raises(CniError) as raised:
        spec.valid_attachments(call({"cniVersion": "1.1.0"}, CNI_COMMAND="GC"))
    assert raised.value.code == 7


def test_the_shim_knows_the_same_versions() -> None:
    listed = ", ".join(map(json.dumps, spec.SUPPORTED))
    assert f"my @VERSIONS = ({listed});" in install.SHIM.read_text()


def test_a_reservation_is_asked_for_by_name() -> None:
    assert "reservation" not in asked()
    assert asked(CNI_ARGS="RESERVATION=db1")["reservation"] == "db1"
    conventions = {"args": {"cni": {"reservation": "db2"}}}
    assert asked(conventions, CNI_ARGS="RESERVATION=db1")["reservation"] == "db2"


def test_aliases_become_labels_of_dns() -> None:
    runtime = {"runtimeConfig": {"aliases": ["Front_End", "db", "db"]}}
    assert asked(runtime)["aliases"] == ["front-end", "db"]
    assert asked()["aliases"] == []
    for wrong in ("db", [7], ["..."]):
        assert "runtimeConfig.aliases" in refusal({"runtimeConfig": {"aliases": wrong}}).msg
    of_podman = {"aliases": {"warren": ["zz", "684787e6d537"], "other": ["no"]}}
    assert asked({"runtimeConfig": of_podman})["aliases"] == ["zz", "684787e6d537"]
    assert asked({"runtimeConfig": {"aliases": {"other": ["no"]}}})["aliases"] == []


def test_the_result_says_where_names_are_answered_unless_somebody_wants_it_otherwise() -> None:
    search = ("web.acme.warren.internal", "acme.warren.internal")
    endpoint = ENDPOINT._replace(nameservers=ENDPOINT.gateways, search=search)

    def dns(config: Any = None) -> Any:
        return result.attached(call(config), endpoint, "fe:00:00:00:00:01", ())["dns"]

    assert dns() == {"nameservers": list(ENDPOINT.gateways), "domain": search[0], "search": list(search)}
    asked_for = {"servers": ["192.0.2.53"], "searches": ["example.org"], "options": ["ndots:2"]}
    given = {"nameservers": ["192.0.2.53"], "search": ["example.org"], "options": ["ndots:2"]}
    assert dns({"runtimeConfig": {"dns": asked_for}}) == given
    assert dns({"dns": given}) == given
    assert dns({"dns": {}}) == dns()
    of_containerd = {"Servers": ["192.0.2.53"], "Searches": ["example.org"], "Options": None}
    assert dns({"runtimeConfig": {"dns": of_containerd}}) == {"nameservers": ["192.0.2.53"], "search": ["example.org"]}


@pytest.mark.parametrize(
    ("mappings", "published"),
    [
        (None, []),
        (
            [{"HostPort": 8080, "ContainerPort": 80, "Protocol": "TCP", "HostIP": ""}],  # as containerd writes it
            [{"protocol": "tcp", "port": 80, "host_port": 8080, "host_ip": None}],
        ),
        (
            [{"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.11"}],
            [{"protocol": "udp", "port": 53, "host_port": 53, "host_ip": "192.0.2.11"}],
        ),
        ([{"hostPort": 0, "containerPort": 80}], []),
    ],
)
def test_port_mappings_are_what_is_published(mappings: Any, published: list[dict[str, Any]]) -> None:
    assert wish.published(call({"runtimeConfig": {"portMappings": mappings}})) == published


@pytest.mark.parametrize(
    "mappings", ["x", [7], [{}], [{"hostPort": 80}], [{"hostPort": "80", "containerPort": 80}], [{"hostPort": 1 << 17}]]
)
def test_wrong_port_mappings_are_named(mappings: Any) -> None:
    with pytest.raises(CniError, match="portMappings"):
        wish.published(call({"runtimeConfig": {"portMappings": mappings}}))


def test_garbage_collection_is_only_of_what_cni_attached() -> None:
    for other in (driver.SCOPE, by_hand.SCOPE):
        with pytest.raises(CniError, match="'name'"):
            call({"name": other})
