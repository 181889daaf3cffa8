"""What a host configuration means in older versions of the API; each was asked of dockerd 20.10.24."""

from __future__ import annotations

import pytest

from apiserver.admission.older import as_meant
from store.objects.containers import BindOptions, HostConfig, Mount

MOUNT = Mount(type="bind", source="/a", target="/b", bind_options=BindOptions(non_recursive=True, propagation="shared"))
GIVEN = HostConfig(auto_remove=True, kernel_memory_tcp=7, mounts=[MOUNT, Mount(type="tmpfs", target="/c")])


@pytest.mark.parametrize(
    ("api", "auto_remove", "kernel_memory_tcp", "ipc_mode", "cgroupns_mode", "non_recursive"),
    [
        ((1, 24), False, 0, "shareable", "host", False),
        ((1, 25), True, 0, "shareable", "host", False),
        ((1, 39), True, 0, "shareable", "host", False),
        ((1, 40), True, 7, "private", "host", True),
        ((1, 41), True, 7, "private", "", True),
    ],
)
def test_a_configuration_means_what_its_version_knew(
    api: tuple[int, int],
    auto_remove: bool,
    kernel_memory_tcp: int,
    ipc_mode: str,
    cgroupns_mode: str,
    non_recursive: bool,
) -> None:
    meant = as_meant(GIVEN, api)
    assert (meant.auto_remove, meant.kernel_memory_tcp) == (auto_remove, kernel_memory_tcp)
    assert (meant.ipc_mode, meant.cgroupns_mode) == (ipc_mode, cgroupns_mode)
    assert meant.mounts is not None
    assert meant.mounts[0].bind_options == BindOptions(non_recursive=non_recursive, propagation="shared")
    assert meant.mounts[1:] == GIVEN.mounts[1:]  # type: ignore[index]


def test_what_is_asked_for_is_left_alone() -> None:
    asked = HostConfig(ipc_mode="host", cgroupns_mode="private")
    assert as_meant(asked, (1, 24)) == asked
