"""The engine itself: ping, version, info, events, disk usage; what is empty while there are no builds and plugins."""

from __future__ import annotations

from tests.differential.calls import Call, Run, ended, made, running

RUNS = [
    Run(
        "system",
        [
            Call("GET /_ping", 200),
            Call("HEAD /_ping", 200),
            Call("GET /version", 200),
            Call("GET /info", 200),
            Call("POST /build/prune", 200),
            Call("GET /plugins/nothing/json", 404),
            Call("GET /nonsense", 404),
            Call("POST /version", 404),
            Call("GET /v9.9/version", 400),
        ],
    ),
    Run(
        "disk usage",
        [
            *ended("dd", "sh", "-c", "echo 12345 > /f"),
            *running("rr", HostConfig={"Binds": ["used:/data"]}),
            Call("POST /volumes/create", 201, {"Name": "unused"}),
            Call("GET /system/df", 200, unordered=["Volumes", "Containers"]),
        ],
        events=False,
    ),
    Run(
        "events",
        [
            made("ee", Labels={"mark": "1"}),
            Call("POST /containers/ee/rename?name=ff", 204),
            Call("DELETE /containers/ff", 204),
            Call("GET /events?since=0&until=1", 200),
            Call("GET /events?since=2&until=1", 400),
            Call("GET /events?since=nonsense&until=1", 500, ours=400),
            Call("GET /events?until=nonsense", 500, ours=400),
            Call("GET /events?filters={", 500, ours=400),
            Call('GET /events?until=1&filters={"nonsense":["1"]}', 200),
        ],
    ),
]
