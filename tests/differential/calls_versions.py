"""What older clients see where the shape changed from version to version."""

from __future__ import annotations

from tests.differential.calls import Call, Run, running

_PATHS = (
    "/_ping",
    "/version",
    "/info",
    "/containers/json?all=1&size=1",
    "/containers/vv/json?size=1",
    "/containers/vv/stats?stream=0&one-shot=1",
    "/containers/vv/top",
    "/exec/{exec}/json",
    "/images/json",
    "/images/json?filter=busybox",
    "/images/busybox/json",
    "/images/busybox/history",
    "/networks",
    "/networks/bridge",
    "/volumes",
    "/volumes/old",
    "/system/df",
)


def seen(version: str) -> Run:
    """All that can be looked at, in one version."""
    return Run(
        f"version {version}",
        [
            *running("vv", Labels={"a": "b"}, HostConfig={"Binds": ["old:/data"]}),
            Call("POST /containers/vv/exec", 201, {"Cmd": ["true"]}, keep="exec"),
            *(
                Call(
                    f"GET /v{version}{path}",
                    200,
                    unordered=["", "Volumes", "Containers"],
                    loose=[r"(.*\.)?Size(Rw|RootFs)"],
                )
                for path in _PATHS
            ),
            Call(f"POST /v{version}/containers/create?name=ww", 201, {"Image": "busybox", "Cmd": ["true"]}),
            Call(f"GET /v{version}/containers/ww/json", 200),
            Call(f"POST /v{version}/containers/ww/start", 204),
            Call(f"POST /v{version}/containers/ww/wait", 200),
            Call(f"POST /v{version}/containers/ww/attach?logs=1&stdout=1", 200),
            Call(f"GET /v{version}/containers/ww/logs?stdout=1", 200),
            Call(
                f"POST /v{version}/containers/create?name=older",
                201,
                {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"AutoRemove": True, "KernelMemoryTCP": 8388608}},
            ),
            Call(f"GET /v{version}/containers/older/json", 200),
            Call(f"POST /v{version}/containers/older/update", 200, {"PidsLimit": 10}),
            Call(f"GET /v{version}/containers/older/json", 200),
            Call(f"POST /v{version}/containers/prune", 200, loose=["ContainersDeleted"]),
            Call(f"POST /v{version}/volumes/create", 201, {"Name": "older"}),
            Call(f"DELETE /v{version}/volumes/older", 204),
            Call(f"DELETE /v{version}/containers/nobody", 404),
        ],
        events=False,
    )


RUNS = [seen(version) for version in ("1.24", "1.30", "1.40")]
