"""The engine about itself: ping, version and info."""

from __future__ import annotations

import asyncio
import os
import platform
import time

from aiohttp import web

from apiserver.composition import Engine
from apiserver.config import Settings, is_loopback
from apiserver.dispatch import Call, Route
from apiserver.hostinfo import HostInfo, flag_file, read_host
from apiserver.release import VERSION
from apiserver.rendering import json_response
from apiserver.timestamps import rfc3339
from apiserver.wire import system as wire
from apiserver.wire.versions import CURRENT, MINIMUM, has, text
from controllers.containers.runtime import RuntimeInfo
from store.objects.log_options import LOG_OPTIONS

INDEX_SERVER = "https://index.docker.io/v1/"
_PING_HEADERS = {
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Content-Type": "text/plain; charset=utf-8",
}


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    about = About(engine)
    return [
        Route(
            "GET",
            "/_ping",
            ping,
            "SystemPing",
            summary="Whether the engine is there.",
            produces="text/plain",
            headers=_PING_HEADERS,
            instant=lambda path, query: b"OK",
        ),
        Route(
            "HEAD",
            "/_ping",
            ping,
            "SystemPingHead",
            since="1.40",
            summary="Whether the engine is there, without a body.",
            produces="text/plain",
        ),
        Route(
            "GET",
            "/version",
            about.version,
            "SystemVersion",
            summary="The versions of the engine and of what it consists of.",
            response=wire.Version,
        ),
        Route(
            "GET",
            "/info",
            about.info,
            "SystemInfo",
            summary="What the engine holds, and what this machine is and can do.",
            response=wire.Info,
        ),
    ]


async def ping(call: Call) -> web.StreamResponse:
    """``GET`` and ``HEAD /_ping``: 200; what a client wants to know is in the headers."""
    if call.request.method == "HEAD":
        return web.Response(headers={**_PING_HEADERS, "Content-Length": "0"})
    return web.Response(body=b"OK", headers=_PING_HEADERS)


class About:
    """Answers that need the engine; the machine's facts are read once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._host: HostInfo | None = None

    async def version(self, call: Call) -> web.StreamResponse:
        """``GET /version``: 200."""
        del call
        host, runtime = await self._read_host(), await self._engine.runtime.probe()
        details = {
            "ApiVersion": text(CURRENT),
            "Arch": host.architecture,
            "BuildTime": "",
            "Experimental": "false",
            "GitCommit": "",
            "GoVersion": "",
            "KernelVersion": host.kernel,
            "MinAPIVersion": text(MINIMUM),
            "Os": "linux",
            "PythonVersion": platform.python_version(),
        }
        components = [
            wire.Component(name="Engine", version=VERSION, details=details),
            wire.Component(name=runtime.name, version=runtime.version, details={"GitCommit": runtime.commit}),
        ]
        if host.init_binary:
            components.append(
                wire.Component(name=host.init_binary, version=host.init_version, details={"GitCommit": ""})
            )
        return json_response(
            wire.Version(
                platform=wire.Platform(name="Wharfinger"),
                components=components,
                version=VERSION,
                api_version=text(CURRENT),
                min_api_version=text(MINIMUM),
                git_commit="",
                go_version="",
                os="linux",
                arch=host.architecture,
                kernel_version=host.kernel,
                build_time="",
            )
        )

    async def info(self, call: Call) -> web.StreamResponse:
        """``GET /info``: 200."""
        host, runtime = await self._read_host(), await self._engine.runtime.probe()
        named = has(call.version, "info.security-options-named")
        return json_response(_info(self._engine, host, runtime, named=named))

    async def _read_host(self) -> HostInfo:
        if self._host is None:
            self._host = await asyncio.to_thread(read_host, self._engine.settings.data_root)
        return self._host


def _info(engine: Engine, host: HostInfo, runtime: RuntimeInfo, *, named: bool) -> wire.Info:
    settings, cgroups = engine.settings, host.cgroups
    phases = [container.status.phase for container in engine.store.containers]
    running, paused = sum(phase in ("running", "restarting") for phase in phases), phases.count("paused")
    return wire.Info(
        id=host.engine_id,
        containers=len(phases),
        containers_running=running,
        containers_paused=paused,
        containers_stopped=len(phases) - running - paused,
        images=len(engine.images.all()),
        driver="overlay2",
        driver_status=[
            ("Backing Filesystem", host.backing_filesystem),
            ("Supports d_type", "true"),
            ("Native Overlay Diff", "true"),
            ("userxattr", "false"),
        ],
        plugins=wire.Plugins(
            volume=["local"],
            network=["bridge", "host", "null"],
            authorization=None,
            log=sorted(driver for driver in LOG_OPTIONS if driver != "none"),
        ),
        memory_limit=cgroups.memory_limit,
        swap_limit=cgroups.swap_limit,
        kernel_memory=cgroups.kernel_memory,
        kernel_memory_tcp=cgroups.kernel_memory_tcp,
        cpu_cfs_period=cgroups.cfs_period,
        cpu_cfs_quota=cgroups.cfs_quota,
        cpu_shares=cgroups.shares,
        cpu_set=cgroups.cpuset,
        pids_limit=cgroups.pids,
        ipv4_forwarding=flag_file("/proc/sys/net/ipv4/ip_forward"),
        bridge_nf_iptables=flag_file("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        bridge_nf_ip6tables=flag_file("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
        debug=settings.log_level == "debug",
        n_fd=len(os.listdir("/proc/self/fd")),
        oom_kill_disable=cgroups.oom_kill_disable,
        n_goroutines=len(asyncio.all_tasks()),
        system_time=rfc3339(time.time_ns()),
        logging_driver="json-file",
        cgroup_driver="cgroupfs",
        cgroup_version=cgroups.version,
        n_events_listener=0,
        kernel_version=host.kernel,
        operating_system=host.operating_system,
        os_version=host.os_version,
        os_type="linux",
        architecture=host.machine,
        index_server_address=INDEX_SERVER,
        registry_config=_registry_config(settings),
        ncpu=host.cpus,
        mem_total=host.memory,
        generic_resources=None,
        docker_root_dir=str(settings.data_root),
        http_proxy=_proxy("HTTP_PROXY"),
        https_proxy=_proxy("HTTPS_PROXY"),
        no_proxy=_proxy("NO_PROXY"),
        name=host.name,
        labels=list(settings.labels),
        experimental_build=False,
        server_version=VERSION,
        runtimes={runtime.name: wire.RuntimePath(path=settings.runtime)},
        default_runtime=runtime.name,
        swarm=wire.Swarm(),
        live_restore_enabled=True,
        isolation="",
        init_binary=host.init_binary,
        containerd_commit=wire.Commit(id="", expected=""),
        runc_commit=wire.Commit(id=runtime.commit, expected=runtime.commit),
        init_commit=wire.Commit(id=host.init_version, expected=host.init_version),
        security_options=_security_options(host, named=named),
        warnings=_warnings(host, settings) or None,
        **({} if named else {"execution_driver": "<not supported>"}),
    )


def _security_options(host: HostInfo, *, named: bool) -> list[str]:
    options = ["name=seccomp,profile=default"] if host.seccomp else []
    if host.cgroups.version == "2":
        options.append("name=cgroupns")
    # Before API 1.25 an option was its bare name.
    return options if named else [option.removeprefix("name=").partition(",")[0] for option in options]


def _registry_config(settings: Settings) -> wire.RegistryConfig:
    cidrs = [entry for entry in settings.insecure_registries if "/" in entry]
    hosts = [entry for entry in settings.insecure_registries if "/" not in entry]
    mirrors = [mirror.rstrip("/") + "/" for mirror in settings.registry_mirrors]
    hub = wire.IndexInfo(name="docker.io", mirrors=mirrors, secure=True, official=True)
    insecure = {name: wire.IndexInfo(name=name, mirrors=[], secure=False, official=False) for name in hosts}
    return wire.RegistryConfig(
        allow_nondistributable_artifacts_cidrs=[],
        allow_nondistributable_artifacts_hostnames=[],
        insecure_registry_cidrs=[*cidrs, "127.0.0.0/8"],
        index_configs={**insecure, "docker.io": hub},
        mirrors=mirrors,
    )


def _proxy(name: str) -> str:
    value = os.environ.get(name) or os.environ.get(name.lower()) or ""
    scheme, separator, rest = value.partition("://")
    if not separator or "@" not in rest:
        return value
    # Credentials are shown to nobody.
    return f"{scheme}://xxxxx:xxxxx@{rest.rpartition('@')[2]}"


def _warnings(host: HostInfo, settings: Settings) -> list[str]:
    cgroups = host.cgroups
    missing = {
        "memory limit": cgroups.memory_limit,
        "swap limit": cgroups.swap_limit,
        "cpu cfs quota": cgroups.cfs_quota,
        "cpu cfs period": cgroups.cfs_period,
        "cpu shares": cgroups.shares,
        "cpuset": cgroups.cpuset,
        "pids limit": cgroups.pids,
    }
    warnings = [f"WARNING: No {name} support" for name, present in missing.items() if not present]
    if not flag_file("/proc/sys/net/ipv4/ip_forward"):
        warnings.append("WARNING: IPv4 forwarding is disabled")
    for endpoint in settings.endpoints():
        if endpoint.scheme == "http" and not is_loopback(endpoint.host):
            warnings.append(f"WARNING: API is accessible on {endpoint} without encryption.")
    return warnings
