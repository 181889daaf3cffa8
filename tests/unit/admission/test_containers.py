"""A container's configuration before the store."""

from __future__ import annotations

import pytest

from apiserver.admission.containers import check_modes, merge_image
from store.errors import InvalidParameterError
from store.objects.containers import ContainerConfig, HostConfig


@pytest.mark.parametrize(
    ("config", "host", "conflict"),
    [
        (ContainerConfig(hostname="h"), HostConfig(network_mode="container:x"), "hostname and the network mode"),
        (ContainerConfig(), HostConfig(network_mode="container:x", dns=["1.1.1.1"]), "dns and the network mode"),
        (
            ContainerConfig(),
            HostConfig(network_mode="container:x", publish_all_ports=True),
            "port publishing and the container type network mode",
        ),
        (
            ContainerConfig(exposed_ports={"80/tcp": {}}),
            HostConfig(network_mode="container:x"),
            "port exposing and the container type network mode",
        ),
        (
            ContainerConfig(mac_address="02:00:00:00:00:01"),
            HostConfig(network_mode="host"),
            "mac-address and the network mode",
        ),
        (ContainerConfig(hostname="h"), HostConfig(uts_mode="host"), "hostname and the UTS mode"),
    ],
)
def test_what_a_shared_namespace_leaves_no_room_for_is_refused(
    config: ContainerConfig, host: HostConfig, conflict: str
) -> None:
    with pytest.raises(InvalidParameterError, match=f"^conflicting options: {conflict}$"):
        check_modes(config, host)


def test_a_host_name_of_its_own_fits_a_network_of_its_own() -> None:
    check_modes(ContainerConfig(hostname="h"), HostConfig(network_mode="host"))
    check_modes(ContainerConfig(hostname="h"), HostConfig(network_mode="bridge"))


def test_an_empty_entrypoint_takes_the_images_away_and_its_command_with_it() -> None:
    image = ContainerConfig(entrypoint=["/entry"], cmd=["default"])
    merged = merge_image(ContainerConfig(entrypoint=[""], cmd=["mine"]), image)
    assert (merged.entrypoint, merged.cmd) == (None, ["mine"])
    with pytest.raises(InvalidParameterError, match="No command specified"):
        merge_image(ContainerConfig(entrypoint=[""]), image)
