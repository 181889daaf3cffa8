"""The local driver's rules, in dockerd's words."""

from __future__ import annotations

import pytest

from controllers.volumes import local
from store.errors import InvalidParameterError, NotFoundError


@pytest.mark.parametrize("name", ["ab", "A.b_c-d", "0x", "a" * 255])
def test_good_names_are_taken(name: str) -> None:
    local.check_name(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a", "create a: volume name is too short, names should be at least two alphanumeric characters"),
        (
            "a/b",
            'create a/b: "a/b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path",
        ),
        (".ab", None),
        ("..", None),
        ("a\n", None),
        ("a b", None),
        ("é" * 3, None),
        ("a" * 256, None),
    ],
)
def test_bad_names_are_refused(name: str, words: str | None) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        local.check_name(name)
    if words is not None:
        assert str(caught.value) == words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"foo": "bar"}, 'invalid option: "foo"'),
        ({"type": "tmpfs"}, 'missing required option: "device"'),
        ({"type": ""}, 'missing required option: "device"'),
        ({"device": "tmpfs"}, 'missing required option: "type"'),
        ({"o": "bind"}, 'missing required option: "device"'),
        ({"o": "bind", "device": "/x"}, 'missing required option: "type"'),
        ({"size": "10M"}, "quota size requested but no quota support"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        local.check_options("v", options)


def test_there_are_no_plugins() -> None:
    with pytest.raises(NotFoundError, match='error looking up volume plugin nope: plugin "nope" not found'):
        local.check_driver("v", "nope")


def test_options_become_arguments_of_mount() -> None:
    assert local.device_mount(None) is None
    assert local.device_mount({}) is None
    assert local.device_mount({"type": "none", "device": "/x", "o": "bind,ro"}) == local.DeviceMount(
        "/x", "none", 4096 | 1, ""
    )
    assert local.device_mount({"type": "tmpfs", "device": "tmpfs", "o": "size=1m,noexec,exec,uid=5"}) == (
        local.DeviceMount("tmpfs", "tmpfs", 0, "size=1m,uid=5")
    )


def test_a_network_mount_names_its_server_to_be_resolved() -> None:
    wanted = local.device_mount({"type": "nfs", "device": ":/x", "o": "addr=server,rw,nfsvers=4"})
    assert wanted is not None
    assert wanted.server == "server"
    assert wanted.with_server("10.0.0.1").data == "addr=10.0.0.1,nfsvers=4"
    plain = local.device_mount({"type": "tmpfs", "device": "tmpfs", "o": "addr=server"})
    assert plain is not None
    assert plain.server == ""
