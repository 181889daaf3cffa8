"""What asks for a mount, and what comes of it."""

from collections.abc import Callable
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.admission.mounts import mount_points, parse_bind
from store.errors import InvalidParameterError, NotFoundError
from store.objects.containers import (
    BindOptions,
    Container,
    ContainerConfig,
    ContainerSpec,
    HostConfig,
    Mount,
    MountPoint,
)
from store.objects.meta import Meta

ROOT = PurePosixPath("/var/lib/wharfinger")


def no_container(text: str) -> Container:
    raise NotFoundError(text)


def names() -> Callable[[], str]:
    numbers = iter(range(1000))
    return lambda: f"anonymous{next(numbers)}"


def points(host: HostConfig, config: ContainerConfig | None = None) -> tuple[MountPoint, ...]:
    return mount_points(config or ContainerConfig(), host, no_container, names(), ROOT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a",
            "invalid volume specification: 'a': invalid mount config for type \"volume\": "
            "invalid mount path: 'a' mount path must be absolute",
        ),
        (
            "a:b",
            "invalid volume specification: 'a:b': invalid mount config for type \"volume\": "
            "invalid mount path: 'b' mount path must be absolute",
        ),
        ("/tmp:/x:zz", "invalid mode: zz"),
        (
            "/tmp:/",
            "invalid volume specification: '/tmp:/': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'",
        ),
        (
            "a/b:/x",
            'create a/b: "a/b" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
        ),
        ("::", "invalid volume specification: '::'"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
    ],
)
def test_a_bad_bind_is_refused_in_dockerds_words(text: str, message: str) -> None:
    with pytest.raises(InvalidParameterError) as refusal:
        parse_bind(text, "", lambda: "new")
    assert refusal.value.message == message


def test_a_bind_is_read() -> None:
    bind = parse_bind("/tmp/../srv:/data/:ro,rshared", "", lambda: "new")
    assert bind == MountPoint(
        type="bind", destination="/data", source="/srv", mode="ro,rshared", read_write=False, propagation="rshared"
    )


def test_a_named_volume_is_filled_from_the_image_unless_told_not_to() -> None:
    assert parse_bind("vol:/data", "", lambda: "new").copy_up
    assert not parse_bind("vol:/data:nocopy", "", lambda: "new").copy_up


def test_the_images_volumes_give_way_to_what_the_client_asked_for() -> None:
    config = ContainerConfig(volumes={"/data": {}, "/other": {}})
    found = points(HostConfig(binds=["/srv:/data"]), config)
    assert [(p.type, p.destination, p.anonymous) for p in found] == [
        ("bind", "/data", False),
        ("volume", "/other", True),
    ]


def test_two_mounts_at_one_place_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="Duplicate mount point: /x"):
        points(HostConfig(binds=["/tmp:/x", "/etc:/x/"]))


@pytest.mark.parametrize(
    ("mount", "reason"),
    [
        (Mount(type="bogus", target="/x"), "mount type unknown"),
        (Mount(type="volume"), "field Target must not be empty"),
        (Mount(type="bind", target="/x"), "field Source must not be empty"),
        (Mount(type="tmpfs", source="a", target="/x"), "field Source must not be specified"),
        (Mount(type="volume", target="/x", bind_options=BindOptions()), "field BindOptions must not be specified"),
    ],
)
def test_a_bad_mount_is_refused_in_dockerds_words(mount: Mount, reason: str) -> None:
    with pytest.raises(InvalidParameterError) as refusal:
        points(HostConfig(mounts=[mount]))
    assert refusal.value.message == f'invalid mount config for type "{mount.type}": {reason}'


def test_volumes_from_takes_all_but_tmpfs_and_can_make_them_read_only() -> None:
    other = Container(
        meta=Meta(uid="1" * 64, name="other"),
        spec=ContainerSpec(
            config=ContainerConfig(),
            host=HostConfig(),
            image_id="",
            path="sh",
            args=(),
            mounts=(
                MountPoint(type="volume", destination="/v", name="vol"),
                MountPoint(type="tmpfs", destination="/t"),
            ),
        ),
    )
    found = mount_points(ContainerConfig(), HostConfig(volumes_from=["other:ro"]), lambda _: other, names(), ROOT)
    assert [(p.destination, p.name, p.read_write) for p in found] == [("/v", "vol", False)]


@given(st.text(alphabet="/a:b.,rozZ", max_size=20))
def test_any_text_is_a_bind_or_refused(text: str) -> None:
    try:
        point = parse_bind(text, "", lambda: "new")
    except InvalidParameterError:
        return
    assert point.destination.startswith("/")
    assert point.destination != "/"
    assert ".." not in point.destination.split("/")
