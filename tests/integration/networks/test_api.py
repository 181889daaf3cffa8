"""Networks over the API, as dockerd answers. Where dockerd blames itself (500) for the client's mistake, we do not."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemon import Daemon
from tests.support.engine import Engine

pytestmark = pytest.mark.host


def create(daemon: Daemon, name: str, **body: Any) -> str:
    answer = daemon.request("POST", "/networks/create", {"Name": name, "CheckDuplicate": True, **body})
    assert answer.status == 201, answer.body
    made = answer.json()
    assert made == {"Id": made["Id"], "Warning": ""}
    return str(made["Id"])


def show(daemon: Daemon, name: str) -> Any:
    answer = daemon.request("GET", f"/networks/{name}")
    assert answer.status == 200, answer.body
    return answer.json()


def names(daemon: Daemon, **filters: list[str]) -> list[str]:
    answer = daemon.request("GET", f"/networks?filters={quote(json.dumps(filters))}")
    assert answer.status == 200, answer.body
    return sorted(network["Name"] for network in answer.json())


def events(daemon: Daemon, since: int, until: int) -> list[Any]:
    filters = quote(json.dumps({"type": ["network"]}))
    body = daemon.request("GET", f"/events?since={since}&until={until}&filters={filters}").body
    return [json.loads(line) for line in body.splitlines()]


def test_a_network_is_shown_as_it_was_asked_for(daemon: Daemon) -> None:
    uid = create(
        daemon,
        "shown",
        Internal=True,
        Attachable=True,
        Labels={"a": "b"},
        Options={"com.docker.network.driver.mtu": "1400"},
        IPAM={
            "Driver": "default",
            "Options": {},
            "Config": [{"Subnet": "10.60.0.0/16", "IPRange": "10.60.5.0/24", "Gateway": "10.60.0.1"}],
        },
    )
    shown = show(daemon, "shown")
    created = shown.pop("Created")
    assert created.endswith("Z")
    assert shown == {
        "Name": "shown",
        "Id": uid,
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv6": False,
        "IPAM": {
            "Driver": "default",
            "Options": {},
            "Config": [{"Subnet": "10.60.0.0/16", "IPRange": "10.60.5.0/24", "Gateway": "10.60.0.1"}],
        },
        "Internal": True,
        "Attachable": True,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {"com.docker.network.driver.mtu": "1400"},
        "Labels": {"a": "b"},
    }
    assert show(daemon, uid) == show(daemon, uid[:10]) == {**shown, "Created": created}


def test_a_network_without_wishes_gets_a_subnet_with_a_gateway(daemon: Daemon) -> None:
    create(daemon, "plain")
    plain = show(daemon, "plain")
    (config,) = plain["IPAM"]["Config"]
    assert config["Subnet"].startswith("172.")
    assert config["Gateway"] == config["Subnet"].replace(".0.0/16", ".0.1")
    assert (plain["IPAM"]["Options"], plain["Options"], plain["Labels"]) == (None, {}, {})


def test_the_predefined_networks_are_there(daemon: Daemon) -> None:
    assert names(daemon, type=["builtin"]) == ["bridge", "host", "none"]
    assert [show(daemon, name)["Driver"] for name in ("bridge", "host", "none")] == ["bridge", "host", "null"]
    bridge = show(daemon, "bridge")
    assert bridge["IPAM"]["Config"][0]["Subnet"] == "172.17.0.0/16"
    assert set(bridge["Options"]) == {
        "com.docker.network.bridge.default_bridge",
        "com.docker.network.bridge.enable_icc",
        "com.docker.network.bridge.enable_ip_masquerade",
        "com.docker.network.bridge.host_binding_ipv4",
        "com.docker.network.bridge.name",
        "com.docker.network.driver.mtu",
    }
    assert show(daemon, "host")["IPAM"] == {"Driver": "default", "Options": None, "Config": []}


def refusals() -> list[tuple[dict[str, Any], int, str]]:
    def pool(**config: Any) -> dict[str, Any]:
        return {"IPAM": {"Config": [config]}}

    subnet = "10.61.0.0/24"
    return [
        ({"Name": ""}, 400, "invalid name: "),
        ({"Name": "  "}, 400, "invalid name:   "),
        ({"Name": "bridge"}, 403, "operation is not permitted on predefined bridge network "),
        ({"Name": "default"}, 403, "operation is not permitted on predefined default network "),
        ({"Driver": "host"}, 403, 'only one instance of "host" network is allowed'),
        ({"Driver": "null"}, 403, 'only one instance of "null" network is allowed'),
        ({"Ingress": True}, 403, "Ingress network can only be global scope network"),
        ({"Scope": "swarm"}, 403, "cannot create a swarm scoped network when swarm is not active"),
        (pool(Subnet="172.17.1.0/24"), 403, "Pool overlaps with other one on this address space"),
        (pool(Subnet="junk"), 400, "Invalid subnet junk : invalid CIDR address: junk"),
        (pool(Gateway="10.1.1.1"), 400, "Invalid subnet  : invalid CIDR address: "),
        (pool(Subnet=subnet, Gateway="junk"), 400, "invalid gateway address junk in Ipam configuration"),
        (
            pool(Subnet=subnet, Gateway="10.62.0.1"),
            400,
            "failed to allocate gateway (10.62.0.1): Requested address is out of range",
        ),
        (
            pool(Subnet=subnet, Gateway="10.61.0.255"),
            400,
            "failed to allocate gateway (10.61.0.255): Address already in use",
        ),
        (pool(Subnet="10.61.0.0/32"), 400, "failed to allocate gateway (): No available addresses on this pool"),
        (
            pool(Subnet=subnet, AuxiliaryAddresses={"a": "10.62.0.1"}),
            403,
            "auxiliary address: (a:10.62.0.1) must belong to the master pool: 10.61.0.0/24",
        ),
        (
            {"IPAM": {"Config": [{"Subnet": "10.63.0.0/24"}, {"Subnet": "10.64.0.0/24"}]}},
            403,
            "bridge driver doesn't support multiple subnets",
        ),
        (
            {"Options": {"com.docker.network.driver.mtu": "abc"}},
            400,
            'failed to parse com.docker.network.driver.mtu value: abc (strconv.Atoi: parsing "abc": invalid syntax)',
        ),
    ]


@pytest.mark.parametrize(("body", "status", "message"), refusals())
def test_what_cannot_be_is_refused_in_dockerds_words(
    daemon: Daemon, body: dict[str, Any], status: int, message: str
) -> None:
    answer = daemon.request("POST", "/networks/create", {"Name": "refused", **body})
    assert answer.json() == {"message": message}
    # dockerd calls most of these its own failure.
    assert answer.status == status or (answer.status == 500 and not isinstance(daemon, Engine))
    assert names(daemon, type=["custom"]) == []


@pytest.mark.parametrize("body", [{"Driver": "foo"}, {"IPAM": {"Driver": "foo"}}])
def test_a_driver_that_does_not_exist_is_not_found(engine: Engine, body: dict[str, Any]) -> None:
    # dockerd says the same, after it has looked for plugins for fifteen seconds.
    answer = engine.request("POST", "/networks/create", {"Name": "refused", **body})
    assert (answer.status, answer.json()) == (404, {"message": 'plugin "foo" not found'})


@pytest.mark.parametrize(
    "body",
    [
        {"Driver": "overlay"},
        {"Driver": "macvlan"},
        {"EnableIPv6": True},
        {"ConfigOnly": True},
        {"IPAM": {"Config": [{"Subnet": "fd00:1::/64"}]}},
    ],
)
def test_what_is_not_supported_yet_says_so(engine: Engine, body: dict[str, Any]) -> None:
    answer = engine.request("POST", "/networks/create", {"Name": "later", **body})
    assert answer.status == 501
    assert "not supported yet" in answer.json()["message"]


def test_a_name_is_taken_once(daemon: Daemon) -> None:
    create(daemon, "once")
    answer = daemon.request("POST", "/networks/create", {"Name": "once", "CheckDuplicate": True})
    assert (answer.status, answer.json()) == (409, {"message": "network with name once already exists"})


def test_two_networks_cannot_share_a_bridge(daemon: Daemon) -> None:
    options = {"com.docker.network.bridge.name": "brshared"}
    create(daemon, "one", Options=options)
    assert "brshared" in daemon.surroundings.run("ip", "-br", "link").stdout
    answer = daemon.request("POST", "/networks/create", {"Name": "two", "Options": options})
    assert answer.status == 403
    assert answer.json()["message"].endswith("networks have same bridge name")
    assert daemon.request("DELETE", "/networks/one").status == 204
    assert "brshared" not in daemon.surroundings.run("ip", "-br", "link").stdout


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("nosuch", 404, "network nosuch not found"),
        ("bridge", 403, "bridge is a pre-defined network and cannot be removed"),
        ("none", 403, "none is a pre-defined network and cannot be removed"),
    ],
)
def test_what_cannot_be_removed_is_not(daemon: Daemon, name: str, status: int, message: str) -> None:
    answer = daemon.request("DELETE", f"/networks/{name}")
    assert (answer.status, answer.json()) == (status, {"message": message})


def test_a_network_in_use_is_shown_so_and_stays(daemon: Daemon) -> None:
    uid = create(daemon, "used")
    container = daemon.run("-d", "--name", "user", "--network", "used", "busybox", "sleep", "1000")
    shown = show(daemon, "used")["Containers"]
    assert set(shown) == {container}
    assert set(shown[container]) == {"Name", "EndpointID", "MacAddress", "IPv4Address", "IPv6Address"}
    assert (shown[container]["Name"], shown[container]["IPv6Address"]) == ("user", "")
    answer = daemon.request("DELETE", "/networks/used")
    message = f"error while removing network: network used id {uid} has active endpoints"
    assert (answer.status, answer.json()) == (403, {"message": message})
    daemon.docker("rm", "-f", "user")
    assert show(daemon, "used")["Containers"] == {}
    assert daemon.request("DELETE", "/networks/used").status == 204
    assert daemon.request("GET", "/networks/used").status == 404


def test_filters_choose(daemon: Daemon) -> None:
    uid = create(daemon, "alpha", Labels={"k": "v"})
    create(daemon, "alphabet")
    assert names(daemon, name=["alpha"]) == ["alpha", "alphabet"]
    assert names(daemon, name=["^alpha$"]) == ["alpha"]
    assert names(daemon, id=[uid[:12]]) == ["alpha"]
    assert names(daemon, label=["k"]) == names(daemon, label=["k=v"]) == ["alpha"]
    assert names(daemon, label=["k=w"]) == []
    assert names(daemon, driver=["null"]) == ["none"]
    assert names(daemon, type=["custom"]) == names(daemon, dangling=["true"]) == ["alpha", "alphabet"]
    assert names(daemon, scope=["swarm"]) == []


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"bad": ["x"]}, "Invalid filter 'bad'"),
        ({"type": ["x"]}, "invalid filter: 'type'='x'"),
        (
            {"dangling": ["x"]},
            'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")',
        ),
        ({"dangling": ["true", "false"]}, 'got more than one value for filter key "dangling"'),
    ],
)
def test_bad_filters_are_refused(daemon: Daemon, filters: dict[str, list[str]], message: str) -> None:
    answer = daemon.request("GET", f"/networks?filters={quote(json.dumps(filters))}")
    assert answer.json() == {"message": message}
    assert answer.status == 400 or not isinstance(daemon, Engine)


def test_pruning_removes_what_no_running_container_is_on(daemon: Daemon) -> None:
    create(daemon, "busy", Labels={"keep": "no"})
    create(daemon, "idle", Labels={"keep": "no"})
    create(daemon, "kept", Labels={"keep": "yes"})
    daemon.run("-d", "--network", "busy", "busybox", "sleep", "1000")
    filters = quote(json.dumps({"label!": ["keep=yes"]}))
    assert daemon.request("POST", f"/networks/prune?filters={filters}").json() == {"NetworksDeleted": ["idle"]}
    assert daemon.request("POST", f"/networks/prune?filters={filters}").json() == {"NetworksDeleted": None}
    until = quote(json.dumps({"until": ["1h"]}))
    assert daemon.request("POST", f"/networks/prune?filters={until}").json() == {"NetworksDeleted": None}
    assert names(daemon, type=["custom"]) == ["busy", "kept"]


def test_what_happens_to_a_network_is_told(daemon: Daemon) -> None:
    now = int(daemon.surroundings.run("date", "+%s").stdout)
    uid = create(daemon, "told")
    container = daemon.run("-d", "--network", "told", "busybox", "sleep", "1000")
    daemon.docker("rm", "-f", container)
    daemon.docker("network", "rm", "told")
    told = [event for event in events(daemon, now, now + 60) if event["Actor"]["ID"] == uid]
    plain = {"name": "told", "type": "bridge"}
    assert [(event["Action"], event["Actor"]["Attributes"]) for event in told] == [
        ("create", plain),
        ("connect", {**plain, "container": container}),
        ("disconnect", {**plain, "container": container}),
        ("destroy", plain),
    ]
