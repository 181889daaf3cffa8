"""What clients see of a container."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from apiserver.wire import container_views as views
from apiserver.wire.containers import CreateRequest, without_empty
from controllers.layout import Layout
from store.objects.containers import (
    Container,
    ContainerConfig,
    ContainerSpec,
    ContainerStatus,
    EndpointSpec,
    EndpointStatus,
    Health,
    HostConfig,
    MountPoint,
    Phase,
    PublishedPort,
)
from store.objects.meta import Meta

LAYOUT = Layout(Path("/var/lib/w"), Path("/run/w"))
SECOND = 1_000_000_000
DAY = 86400


def container(status: ContainerStatus, **spec: object) -> Container:
    fields = {
        "config": ContainerConfig(image="busybox", exposed_ports={"80/tcp": {}, "81/udp": {}}),
        "host": HostConfig(network_mode="default"),
        "image_id": "sha256:1",
        "path": "sh",
        "args": ("-c", "echo a b"),
        "endpoints": {"bridge": EndpointSpec(network="n1")},
        **spec,
    }
    return Container(meta=Meta(uid="c" * 64, name="web"), spec=msgspec.structs.replace(_SPEC, **fields), status=status)


_SPEC = ContainerSpec(config=ContainerConfig(), host=HostConfig(), image_id="", path="", args=())
RUNNING = ContainerStatus(
    phase="running",
    pid=7,
    started_at=100 * SECOND,
    sandbox_id="s1",
    endpoints={
        "bridge": EndpointStatus(
            network="n1", endpoint_id="e1", ipv4_address="172.17.0.2", prefix_length=16, gateway="172.17.0.1"
        )
    },
    ports=(PublishedPort(protocol="tcp", container_port=80, host_ip="0.0.0.0", host_port=8080),),
)


@given(
    phase=st.sampled_from(("created", "running", "paused", "restarting", "exited", "dead", "removing")),
    age=st.one_of(st.floats(-5, 200), st.floats(0, 900 * DAY)),
    later=st.floats(0, 0.999),
)
def test_a_status_text_stands_until_it_is_said_to_change(phase: Phase, age: float, later: float) -> None:
    there = container(ContainerStatus(phase=phase, started_at=1000 * SECOND, finished_at=1000 * SECOND))
    now = 1000 + age
    until = views.status_text_until(there, now)
    assert until > now
    between = now + (min(until, now + DAY) - now) * later
    assert views.status_text(there, between) == views.status_text(there, now)


def test_a_young_containers_status_text_changes_each_second() -> None:
    there = container(ContainerStatus(phase="running", started_at=1000 * SECOND))
    assert [views.status_text_until(there, now) for now in (1000.5, 1001.0, 1059.9, 1060.0)] == [1001, 1002, 1060, 1120]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (2 * 3600, "2 hours"),
        (3 * DAY, "3 days"),
        (15 * DAY, "2 weeks"),
        (70 * DAY, "2 months"),
        (800 * DAY, "2 years"),
    ],
)
def test_a_span_of_time_is_worded_as_docker_ps_words_it(seconds: float, text: str) -> None:
    assert views.human_duration(seconds) == text


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (ContainerStatus(), "Created"),
        (RUNNING, "Up 10 seconds"),
        (replace(RUNNING, phase="paused"), "Up 10 seconds (Paused)"),
        (replace(RUNNING, health=Health()), "Up 10 seconds (health: starting)"),
        (replace(RUNNING, health=Health(status="unhealthy")), "Up 10 seconds (unhealthy)"),
        (ContainerStatus(phase="exited", exit_code=3, finished_at=105 * SECOND), "Exited (3) 5 seconds ago"),
        (ContainerStatus(phase="restarting", exit_code=1, finished_at=109 * SECOND), "Restarting (1) 1 second ago"),
        (ContainerStatus(phase="removing"), "Removal In Progress"),
        (ContainerStatus(phase="dead"), "Dead"),
    ],
)
def test_the_status_column_says_where_a_container_is(status: ContainerStatus, text: str) -> None:
    assert views.status_text(container(status), now=110.0) == text


def test_only_a_running_container_shows_ports() -> None:
    assert views.ports(container(ContainerStatus())) == {}
    shown = msgspec.to_builtins(views.ports(container(RUNNING)))
    assert shown == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/udp": None}


def test_the_default_bridges_address_is_also_at_the_top() -> None:
    settings = views.network_settings(container(RUNNING), LAYOUT)
    assert settings.ip_address == settings.networks["bridge"].ip_address == "172.17.0.2"
    assert settings.networks["bridge"].aliases is None


def test_a_user_defined_network_knows_the_short_id_as_an_alias() -> None:
    live = replace(RUNNING, endpoints={"app": EndpointStatus(network="n2", endpoint_id="e2")})
    found = container(live, endpoints={"app": EndpointSpec(network="n2", aliases=("db",))})
    assert views.endpoints(found)["app"].aliases == ["db", "c" * 12]


def test_a_fresh_container_has_no_paths_yet_and_no_health() -> None:
    answer = msgspec.to_builtins(views.inspect(container(ContainerStatus()), LAYOUT, [], None))
    assert answer["LogPath"] == answer["HostsPath"] == ""
    assert answer["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert "Health" not in answer["State"]
    assert "SizeRw" not in answer
    assert answer["ExecIDs"] is None


def test_a_bind_has_no_name_and_a_volume_has() -> None:
    bind = msgspec.to_builtins(views.mounted(MountPoint(type="bind", source="/a", destination="/b")))
    volume = msgspec.to_builtins(views.mounted(MountPoint(type="volume", name="v", driver="local", destination="/b")))
    assert "Name" not in bind
    assert "Driver" not in bind
    assert (volume["Name"], volume["Driver"], volume["RW"]) == ("v", "local", True)


def test_empty_fields_that_dockerd_leaves_out_are_left_out() -> None:
    shown = without_empty(ContainerConfig(stop_timeout=0))
    assert "ExposedPorts" not in shown
    assert "Shell" not in shown
    assert shown["StopTimeout"] == 0
    assert shown["Env"] is None
    host = without_empty(HostConfig(init=False))
    assert host["Init"] is False
    assert "Mounts" not in host
    assert host["Binds"] is None


def test_a_command_may_be_one_string() -> None:
    request = msgspec.json.decode(b'{"Image":"b","Cmd":"sleep 10","Unknown":1}', type=CreateRequest)
    assert request.config().cmd == ["sleep 10"]


def test_the_command_column_quotes_what_has_spaces() -> None:
    assert views.command(container(ContainerStatus())) == "sh -c 'echo a b'"
