"""Objects to put into stores."""

from __future__ import annotations

from store.objects import (
    AddressLease,
    Container,
    ContainerConfig,
    ContainerSpec,
    ContainerStatus,
    HostConfig,
    Image,
    ImageSpec,
    Layer,
    Meta,
    Network,
    NetworkSpec,
    Object,
    PortLease,
    Reference,
    Volume,
    VolumeSpec,
)
from store.objects.containers import EndpointSpec, Failure, Health, HealthResult, MountPoint, PublishedPort
from store.objects.networks import IpamPool


def volume(name: str) -> Volume:
    return Volume(meta=Meta(uid=name, name=name), spec=VolumeSpec())


def container(number: int, *, image: str = "sha256:aa", network: str = "n1", volume: str = "v1") -> Container:
    """One with something in every corner."""
    return Container(
        meta=Meta(uid=f"{number:064x}", name=f"c{number}", labels={"schön": "ja\0"}, finalizers=("containers",)),
        spec=ContainerSpec(
            config=ContainerConfig(image="busybox", env=["A=ü"], cmd=[], volumes={"/v": {}}),
            host=HostConfig(memory=1 << 40, oom_kill_disable=False, console_size=(24, 80)),
            image_id=image,
            path="sh",
            args=("-c", "true"),
            mounts=(MountPoint(type="volume", destination="/v", name=volume),),
            endpoints={network: EndpointSpec(network=network, aliases=("a",))},
        ),
        status=ContainerStatus(
            phase="exited",
            exit_code=137,
            started_at=1_795_694_303_443_322_487,
            failure=Failure(generation=1, kind="ConflictError", message="no"),
            health=Health(log=[HealthResult(start="a", end="b", exit_code=0, output="ok")]),
            ports=(PublishedPort(protocol="tcp", container_port=80, host_ip="::", host_port=8080),),
        ),
    )


def one_of_each() -> list[Object]:
    digest = "sha256:" + "ab" * 32
    return [
        container(1),
        volume("v1"),
        Network(
            meta=Meta(uid="n1", name="net", deletion_requested_at=5),
            spec=NetworkSpec(pools=(IpamPool(subnet="10.0.0.0/24", auxiliary_addresses={"a": "10.0.0.9"}),)),
        ),
        Image(
            meta=Meta(uid=digest, name=digest),
            spec=ImageSpec(
                raw_config="{}", config=ContainerConfig(), architecture="amd64", os="linux", chain_ids=("sha256:cc",)
            ),
        ),
        Reference(meta=Meta(uid="r1", name="docker.io/library/busybox:latest"), image=digest),
        Layer(meta=Meta(uid="sha256:cc", name="sha256:cc"), diff_id="sha256:dd", directory="x", size=1 << 40),
        AddressLease(meta=Meta(uid="a1", name="n1/10.0.0.2"), network="n1", address="10.0.0.2", owner="c"),
        PortLease(meta=Meta(uid="p1", name="tcp/0.0.0.0/80"), protocol="tcp", address="0.0.0.0", port=80, owner="c"),
    ]
