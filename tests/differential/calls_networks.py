"""Networks."""

from __future__ import annotations

from typing import Any

from tests.differential.calls import Call, Run, made, ours, running

CREATE = "POST /networks/create"


def ipam(*configs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The body's part for addresses."""
    return {"IPAM": {"Driver": "default", "Config": list(configs), **more}}


def network(name: str, subnet: str = "", status: int = 201, ours: int = 0, earlier: int = 0, **body: Any) -> Call:
    """A network; ``{name}`` is its id."""
    addresses = ipam({"Subnet": subnet}) if subnet else {}
    return Call(
        CREATE, status, {"Name": name, "CheckDuplicate": True, **addresses, **body}, name, ours=ours, earlier=earlier
    )


LISTED = ["", r"\[\]\.IPAM\.Config"]

RUNS = [
    Run(
        "networks",
        [
            Call("GET /networks", 200, unordered=LISTED),
            network("plain"),
            Call("GET /networks/plain", 200),
            network(
                "full",
                "",
                Driver="bridge",
                Internal=True,
                Attachable=True,
                Labels={"a": "b"},
                Options={"com.docker.network.driver.mtu": "1400"},
                **ipam(
                    {"Subnet": "10.61.0.0/16", "IPRange": "10.61.5.0/24", "Gateway": "10.61.0.1"}, Options={"x": "y"}
                ),
            ),
            Call("GET /networks/{full}", 200),
            Call("GET /networks/full?verbose=1", 200),
            Call("GET /networks/full?verbose=nonsense", 400),
            Call("GET /networks/full?scope=local", 200),
            Call("GET /networks/full?scope=swarm", 404),
            Call("GET /networks/bridge", 200),
            Call("GET /networks/host", 200),
            Call("GET /networks/none", 200),
            Call("GET /networks/nobody", 404),
            Call("GET /networks", 200, unordered=LISTED),
            network("plain", status=409),
            network("bridge", status=403),
            network("bad name"),
            network("x1", "nonsense", 500, ours=400),
            network("x2", "10.61.1.0/24", 403),
            network("x", Driver="host", status=403),
            network("x3", **ipam({"Gateway": "10.70.0.1"}), status=500, ours=400),
            network("x", **ipam({"Subnet": "10.71.0.0/24", "Gateway": "10.72.0.1"}), status=500, ours=400),
            network("x", Options={"com.docker.network.driver.mtu": "x"}, status=500, ours=400),
            network("x", Ingress=True, status=403),
            network("x", Scope="swarm", status=403),
            network("x", ConfigFrom={"Network": "nobody"}, status=404),
            Call(CREATE, 400, b"{"),
            Call(CREATE, 400),
            Call(CREATE, 400, b'{"Name": 5}'),
            *(
                Call(f"GET /networks?filters={filters}", status, unordered=LISTED, ours=ours(status))
                for filters, status in (
                    ('{"name":["pla"]}', 200),
                    ('{"id":["{plain}"]}', 200),
                    ('{"driver":["bridge"]}', 200),
                    ('{"driver":["nonsense"]}', 200),
                    ('{"label":["a=b"]}', 200),
                    ('{"scope":["local"]}', 200),
                    ('{"scope":["swarm"]}', 200),
                    ('{"type":["builtin"]}', 200),
                    ('{"type":["custom"]}', 200),
                    ('{"type":["nonsense"]}', 500),
                    ('{"dangling":["true"]}', 200),
                    ('{"dangling":["nonsense"]}', 400),
                    ('{"nonsense":["1"]}', 400),
                    ("{", 500),
                )
            ),
            Call("DELETE /networks/bridge", 403),
            Call("DELETE /networks/nobody", 404),
            Call("DELETE /networks/plain", 204),
            Call("DELETE /networks/bad name", 204),
            Call('POST /networks/prune?filters={"label":["nonsense"]}', 200),
            Call('POST /networks/prune?filters={"until":["1h"]}', 200),
            Call("POST /networks/prune", 200, unordered=["NetworksDeleted"]),
            Call("POST /networks/prune", 200, unordered=["NetworksDeleted"]),
            Call('POST /networks/prune?filters={"nonsense":["1"]}', 400),
            Call("POST /networks/prune?filters={", 500, ours=400),
        ],
    ),
    Run(
        "addresses that cannot be",
        [network("x4", **ipam({"Subnet": "10.71.0.0/24", "IPRange": "10.72.0.0/24"}), earlier=400)],
        events=False,
    ),
    Run(
        "connections",
        [
            network("n1", "10.62.0.0/16"),
            network("n2", "10.63.0.0/16"),
            *running(
                "cc",
                HostConfig={"NetworkMode": "n1"},
                NetworkingConfig={
                    "EndpointsConfig": {"n1": {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.62.0.9"}}}
                },
            ),
            Call("GET /containers/cc/json", 200),
            Call("GET /networks/n1", 200),
            Call("POST /networks/n2/connect", 200, {"Container": "cc", "EndpointConfig": {"Aliases": ["x"]}}),
            Call("GET /containers/cc/json", 200),
            Call("POST /networks/n2/connect", 403, {"Container": "cc"}),
            Call("POST /networks/nobody/connect", 404, {"Container": "cc"}),
            Call("POST /networks/n2/connect", 404, {"Container": "nobody"}),
            Call("POST /networks/n2/connect", 400, {"Container": ""}),
            Call("POST /networks/n2/connect", 400, b"{"),
            Call("POST /networks/n2/connect", 400),
            Call("POST /networks/host/connect", 400, {"Container": "cc"}),
            Call("DELETE /networks/n2", 403),
            Call("POST /networks/n2/disconnect", 200, {"Container": "cc"}),
            Call("POST /networks/n2/disconnect", 500, {"Container": "cc"}, ours=409),
            Call("POST /networks/nobody/disconnect", 404, {"Container": "cc"}),
            Call("POST /networks/n2/disconnect", 404, {"Container": "nobody"}),
            Call("POST /networks/n2/disconnect", 404, {"Container": "nobody", "Force": True}),
            Call("POST /networks/n2/disconnect", 400, b"{"),
            *running("dd", HostConfig={"NetworkMode": "n1"}),
            Call("GET /containers/dd/json", 200),
            Call("POST /containers/dd/stop?t=0", 204),
            Call("GET /containers/dd/json", 200),
            made("still"),
            Call("POST /networks/n2/connect", 200, {"Container": "still"}),
            Call("GET /containers/still/json", 200),
            Call("POST /containers/still/start", 204),
            Call("GET /containers/still/json", 200),
            Call("POST /networks/n2/disconnect", 200, {"Container": "still"}),
            Call(
                "POST /networks/n2/connect",
                500,
                {"Container": "cc", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "nonsense"}}},
                ours=400,
            ),
            Call(
                "POST /networks/n2/connect",
                500,
                {"Container": "cc", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.99.0.1"}}},
                ours=400,
            ),
            *running("hh", HostConfig={"NetworkMode": "host"}),
            Call("POST /networks/n1/connect", 400, {"Container": "hh"}),
            Call("POST /networks/host/disconnect", 400, {"Container": "hh"}),
            Call("GET /v1.27/networks", 200, unordered=LISTED),
            Call("GET /networks", 200, unordered=LISTED),
        ],
        events=False,
    ),
    Run(
        "the events of a connection",
        [
            network("n3", "10.64.0.0/16"),
            *running("cc"),
            Call("POST /networks/n3/connect", 200, {"Container": "cc"}),
            Call("POST /networks/n3/disconnect", 200, {"Container": "cc"}),
            Call("DELETE /networks/n3", 204),
        ],
    ),
]
