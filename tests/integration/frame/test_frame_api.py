"""The frame of the API on the real daemon, beside dockerd where both must say the same."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.engine import Engine
from tests.support.peer import Peer
from tests.support.tools import program
from tests.unit.apiserver.frame.certificates import Authority

pytestmark = pytest.mark.host


@pytest.mark.parametrize("version", ["", "/v1.24", "/v1.41"])
def test_a_ping_is_dockerds(engine: Engine, peer: Peer, version: str) -> None:
    for method in ("GET", "HEAD"):
        ours, theirs = (daemon.request(method, f"{version}/_ping") for daemon in (engine, peer))
        assert (ours.status, ours.body) == (theirs.status, theirs.body)
        for header in ("api-version", "ostype", "docker-experimental", "cache-control", "pragma", "content-type"):
            assert ours.headers[header] == theirs.headers[header]


def shape(value: Any) -> Any:
    """What kind of value it is, and for objects of what fields."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return type(value).__name__


@pytest.mark.parametrize("version", ["", "/v1.24"])
def test_the_info_has_all_of_dockerds_fields_with_values_of_their_kind(
    engine: Engine, peer: Peer, version: str
) -> None:
    ours, theirs = (daemon.request("GET", f"{version}/info").json() for daemon in (engine, peer))
    # Which runtimes there are, and what there is to warn of, is each one's own.
    for info in (ours, theirs):
        del info["Runtimes"], info["Warnings"]
    assert shape(ours) == shape(theirs)
    for field in (
        "Driver",
        "DriverStatus", "MemoryLimit", "SwapLimit", "KernelMemory", "CpuCfsPeriod", "CpuCfsQuota",
        "CPUShares",
        "CPUSet", "PidsLimit", "OomKillDisable", "LoggingDriver", "CgroupDriver", "CgroupVersion",
        "KernelVersion",
        "OperatingSystem", "OSVersion", "OSType", "Architecture", "IndexServerAddress", "RegistryConfig", "NCPU",
        "MemTotal", "Name", "DefaultRuntime", "Swarm", "SecurityOptions",
    ):  # fmt: skip
        assert ours[field] == theirs[field], field


def test_the_info_counts_what_there_is(engine: Engine) -> None:
    before = engine.request("GET", "/info").json()
    engine.run("-d", "busybox", "sleep", "600")
    engine.docker("create", "busybox")
    after = engine.request("GET", "/info").json()
    assert after["Containers"] - before["Containers"] == 2
    assert after["ContainersRunning"] - before["ContainersRunning"] == 1
    assert after["ContainersStopped"] - before["ContainersStopped"] == 1
    assert after["ID"] == before["ID"]


def test_the_version_has_dockerds_fields(engine: Engine, peer: Peer) -> None:
    ours, theirs = (daemon.request("GET", "/version").json() for daemon in (engine, peer))
    assert set(ours) == set(theirs)
    assert set(theirs["Components"][0]["Details"]) <= set(ours["Components"][0]["Details"])
    assert (ours["MinAPIVersion"], ours["ApiVersion"]) == ("1.24", "1.41")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nope"),
        ("GET", "/v1.41/nope"),
        ("GET", "/v1.42/info"),
        ("GET", "/v2.0/info"),
        ("GET", "/v1.41.2/info"),
        ("GET", "/containers/json/"),
        ("GET", "//info"),
        ("GET", "/containers/../info"),
        ("GET", "/containers/json?%zz"),
        ("GET", '/containers/json?filters={"bogus":["x"]}'.replace('"', "%22")),
        ("OPTIONS", "/info"),
    ],
)
def test_what_is_no_operation_is_answered_as_by_dockerd(engine: Engine, peer: Peer, method: str, path: str) -> None:
    ours, theirs = (daemon.request(method, path) for daemon in (engine, peer))
    assert (ours.status, ours.body.rstrip()) == (theirs.status, theirs.body.rstrip())


@pytest.mark.parametrize(
    "body", [b"{bad", b"", b"[]", b'{"Image":3}', b'{"HostConfig":{"Memory":1.5}}', b"null", b"{} x"]
)
def test_a_body_that_cannot_be_is_refused_in_dockerds_words(engine: Engine, peer: Peer, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    ours, theirs = (daemon.request("POST", "/containers/create", body, headers=headers) for daemon in (engine, peer))
    # dockerd 20.10 blames itself (500) where the client is wrong; later ones say 400, as we do.
    assert ours.status == 400
    if body:
        assert ours.json() == theirs.json()


def test_what_is_not_delivered_says_so(engine: Engine) -> None:
    for method, path in (("GET", "/swarm"), ("GET", "/plugins"), ("POST", "/auth"), ("POST", "/images/a/b/push")):
        answer = engine.request(method, path)
        assert answer.status == 501
        assert answer.json()["message"].startswith("not implemented by this engine yet")


def test_the_docker_commands_about_the_system_work(engine: Engine) -> None:
    assert "Server: Wharfinger" in engine.docker("version").out
    info = engine.docker("info")
    assert "Storage Driver: overlay2" in info.out
    assert "WARNING" not in info.err
    assert "Total reclaimed space" in engine.docker("system", "prune", "-f").out


def test_every_operation_of_the_document_is_one_that_answers(engine: Engine) -> None:
    document = engine.request("GET", "/swagger.json").json()
    assert engine.request("GET", "/v1.41/swagger.json").json() == document
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            # An id that nobody has, so that nothing is changed; what would change something without one is left out.
            if method != "get" or path in ("/events", "/images/get"):
                continue
            answer = engine.request("GET", path.replace("{", "no-such-").replace("}", ""), timeout=20)
            assert answer.status in (200, 400, 404, 501), (path, answer.body)
            assert operation["summary"], path


def test_the_page_is_there_and_says_that_it_loads_nothing(engine: Engine) -> None:
    page = engine.request("GET", "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_metrics_are_prometheus_and_bounded(engine: Engine) -> None:
    for number in range(20):
        engine.request("GET", f"/containers/none-such-{number}/json")
        engine.request("GET", f"/none-such/{number}")
    exposed = engine.metrics()
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=exposed, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    families = {family.name: family for family in text_string_to_metric_families(exposed)}
    for name in (
        "http_requests", "http_request_duration_seconds", "process_resident_memory_bytes", "workqueue_depth",
        "workqueue_adds", "controller_runtime_reconcile", "controller_runtime_reconcile_time_seconds",
        "engine_daemon_container_states_containers", "engine_daemon_container_actions_seconds", "engine_daemon_events",
        "engine_daemon_health_checks", "wharfinger_drift_repairs",
    ):  # fmt: skip
        assert name in families, name
        assert families[name].documentation
    routes = {sample.labels["route"] for sample in families["http_requests"].samples}
    assert "/containers/{id}/json" in routes
    assert not any("none-such" in route for route in routes)


def test_metrics_answer_nobody_but_scrapers(engine: Engine) -> None:
    with engine.surroundings.socket() as browser:
        browser.settimeout(20)
        browser.connect(("127.0.0.1", 9323))
        browser.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil\r\n\r\n")
        assert browser.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_docker_reaches_the_engine_by_mutual_tls_and_strangers_do_not(stopped_engine: Engine, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    server, client = authority.issue("server"), authority.issue("client")
    stopped_engine.start(
        "-H", f"unix://{stopped_engine.socket_path}", "-H", "tcp://127.0.0.1:2376",
        f"--tls-certificate={server.certificate}", f"--tls-key={server.key}", f"--tls-ca={authority.path}",
    )  # fmt: skip
    stopped_engine.load_sample_image()
    docker = ["docker", "-H", "tcp://127.0.0.1:2376", "--tlsverify", f"--tlscacert={authority.path}"]
    known = [f"--tlscert={client.certificate}", f"--tlskey={client.key}"]
    run = stopped_engine.surroundings.run
    assert "Server: Wharfinger" in run(*docker, *known, "version").stdout
    assert run(*docker, *known, "run", "--rm", "busybox", "echo", "hello").stdout == "hello\n"
    assert run(*docker, "version", check=False).returncode != 0


def test_input_that_ends_over_tls_does_not_end_the_output(stopped_engine: Engine, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    server, client = authority.issue("server"), authority.issue("client")
    stopped_engine.start(
        "-H", f"unix://{stopped_engine.socket_path}", "-H", "tcp://127.0.0.1:2376",
        f"--tls-certificate={server.certificate}", f"--tls-key={server.key}", f"--tls-ca={authority.path}",
    )  # fmt: skip
    stopped_engine.load_sample_image()
    docker = f"docker -H tcp://localhost:2376 --tlsverify --tlscacert={authority.path}"
    docker += f" --tlscert={client.certificate} --tlskey={client.key}"
    script = f"echo hello | {docker} run -i --rm busybox sh -c 'cat; sleep 1; echo done'"
    assert stopped_engine.surroundings.run("sh", "-c", script).stdout == "hello\ndone\n"


@pytest.mark.parametrize("version", ["1.24", "1.25", "1.39", "1.40", "1.41"])
def test_each_version_of_the_api_means_what_dockerd_takes_it_to_mean(engine: Engine, peer: Peer, version: str) -> None:
    meant = [_meant(daemon, version) for daemon in (engine, peer)]
    assert meant[0] == meant[1]


def _meant(daemon: Engine | Peer, version: str) -> list[Any]:
    """What becomes of requests whose meaning has changed between versions."""
    mount = {"Type": "bind", "Source": "/tmp", "Target": "/x", "BindOptions": {"NonRecursive": True}}
    host = {"AutoRemove": True, "PidsLimit": -1, "KernelMemoryTCP": 10_000_000, "Mounts": [mount]}
    asked = {"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": host}
    container = daemon.request("POST", f"/v{version}/containers/create", asked).json()["Id"]
    created = daemon.inspect(container)["HostConfig"]
    daemon.request("POST", f"/v{version}/containers/{container}/update", {"PidsLimit": 5})
    running = daemon.run("-d", "--network", "host", "busybox", "sleep", "600")
    networks = daemon.request("GET", f"/v{version}/networks").json()
    changed = ("AutoRemove", "IpcMode", "CgroupnsMode", "PidsLimit", "KernelMemoryTCP", "Mounts")
    return [
        *(created[name] for name in changed),
        daemon.inspect(container)["HostConfig"]["PidsLimit"],
        daemon.request("POST", f"/v{version}/containers/create?platform=linux/arm64", {"Image": "busybox"}).status,
        daemon.request("GET", f"/v{version}/images/json?filter=none-such").json() == [],
        [running in (network["Containers"] or {}) for network in networks if network["Name"] == "host"],
    ]


@pytest.mark.parametrize(
    "path", ["_ping", "containers/json?all=1", "containers/at-hand/json", "containers/at-hand/logs?stdout=1&tail=2"]
)
def test_an_answer_at_hand_is_the_one_of_the_long_way(engine: Engine, path: str) -> None:
    engine.run("--name", "at-hand", "busybox", "sh", "-c", "for n in 1 2 3 4 5; do echo $n; done")
    connection = engine.connection()

    def ask(**headers: str) -> tuple[int, dict[str, str], bytes]:
        connection.request("GET", f"/v1.41/{path}", headers=headers)
        response = connection.getresponse()
        return (
            response.status,
            {name: value for name, value in response.getheaders() if name != "Date"},
            response.read(),
        )

    long = {"X-The-Long-Way": "please"}
    ask(**long)
    # A second may go by between two answers, and a list says how old things are.
    assert any(ask() == ask(**long) for _ in range(5))
    connection.close()


@pytest.mark.parametrize("path", ["/events?since=1&until=2", "/containers/{id}/logs?stdout=1&follow=1"])
def test_a_client_of_http_1_0_reads_a_stream_until_its_end(engine: Engine, path: str) -> None:
    container = engine.run("-d", "busybox", "echo", "said")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(engine.socket_path))
        connection.sendall(f"GET {path.format(id=container)} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 OK" in head
    assert b"chunked" not in head
    assert body.endswith(b"said\n") or "events" in path
