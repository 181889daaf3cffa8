"""Volumes."""

from __future__ import annotations

from tests.differential.calls import Call, Run, made

LISTED = ["Volumes"]

RUNS = [
    Run(
        "volumes",
        [
            Call("GET /volumes", 200),
            Call("POST /volumes/create", 201, {"Name": "v1"}),
            Call("POST /volumes/create", 201, {"Name": "v1"}),
            Call("POST /volumes/create", 201, {"Name": "v2", "Driver": "local", "Labels": {"a": "b"}}),
            Call(
                "POST /volumes/create",
                201,
                {"Name": "v3", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, "Labels": {}},
            ),
            Call("POST /volumes/create", 201, {}),
            Call("POST /volumes/create", 400, {"Name": "bad name"}),
            Call("POST /volumes/create", 400, {"Name": "x"}),
            Call("POST /volumes/create", 400, {"Name": "vx", "DriverOpts": {"nonsense": "1"}}),
            Call("POST /volumes/create", 400, {"Name": "vx", "DriverOpts": {"type": "tmpfs"}}),
            Call("POST /volumes/create", 400, b"{"),
            Call("POST /volumes/create", 400),
            Call("POST /volumes/create", 400, b'{"Name": 5}'),
            Call("GET /volumes", 200, unordered=LISTED),
            Call("GET /volumes/v1", 200),
            Call("GET /volumes/v2", 200),
            Call("GET /volumes/v3", 200),
            Call("GET /volumes/nobody", 404),
            *(
                Call(f"GET /volumes?filters={filters}", status, unordered=LISTED)
                for filters, status in (
                    ('{"name":["v"]}', 200),
                    ('{"label":["a=b"]}', 200),
                    ('{"label":["nonsense"]}', 200),
                    ('{"driver":["local"]}', 200),
                    ('{"driver":["nonsense"]}', 200),
                    ('{"dangling":["true"]}', 200),
                    ('{"dangling":["false"]}', 200),
                    ('{"dangling":["nonsense"]}', 400),
                    ('{"nonsense":["1"]}', 400),
                    ("{", 400),
                )
            ),
            made("user", HostConfig={"Binds": ["v1:/data"]}),
            Call("DELETE /volumes/v1", 409),
            Call("DELETE /volumes/v1?force=1", 409),
            Call("DELETE /volumes/v2", 204),
            Call("DELETE /volumes/v2", 404),
            Call("DELETE /volumes/v2?force=1", 204),
            Call("DELETE /v1.24/volumes/v2?force=1", 204),
            Call('POST /volumes/prune?filters={"label":["a"]}', 200),
            Call('POST /volumes/prune?filters={"label!":["nonsense"]}', 200, unordered=["VolumesDeleted"]),
            Call("POST /volumes/prune", 200),
            Call('POST /volumes/prune?filters={"nonsense":["1"]}', 400),
            Call('POST /volumes/prune?filters={"until":["1h"]}', 400),
            Call("POST /volumes/prune?filters={", 500, ours=400),
        ],
        events=False,
    ),
    Run(
        "the events of a volume",
        [
            Call("POST /volumes/create", 201, {"Name": "told"}),
            made("user", HostConfig={"Binds": ["told:/data"]}),
            Call("POST /containers/user/start", 204),
            Call("POST /containers/user/kill", 204),
            Call("POST /containers/user/wait", 200),
            Call("DELETE /containers/user?force=1", 204),
            Call("DELETE /volumes/told", 204),
            Call("POST /volumes/prune", 200),
        ],
    ),
]
