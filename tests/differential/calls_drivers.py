"""Drivers that nobody has: dockerd looks for a plugin of that name for a quarter of a minute each time."""

from __future__ import annotations

from tests.differential.calls import Call, Run

RUNS = [
    Run(
        "drivers that nobody has",
        [
            Call("POST /volumes/create", 404, {"Name": "v1", "Driver": "nonsense"}),
            Call("POST /networks/create", 404, {"Name": "n1", "Driver": "nonsense1"}),
            Call("POST /networks/create", 404, {"Name": "n2", "IPAM": {"Driver": "nonsense2"}}),
            Call(
                "POST /containers/create",
                400,
                {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"LogConfig": {"Type": "nonsense3"}}},
            ),
            Call(
                "POST /containers/create",
                404,
                {"Image": "busybox", "HostConfig": {"VolumeDriver": "nonsense4", "Binds": ["v2:/data"]}},
            ),
            Call("GET /plugins/nonsense5/json", 404),
        ],
        events=False,
        together=True,
    ),
]
