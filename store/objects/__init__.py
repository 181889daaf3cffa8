"""The kinds: metadata, spec and status of everything the engine keeps."""

from store.objects.containers import Container, ContainerConfig, ContainerSpec, ContainerStatus, HostConfig
from store.objects.events import Event
from store.objects.images import Image, ImageSpec, Layer, Reference
from store.objects.meta import Meta, Object
from store.objects.networks import AddressLease, Network, NetworkSpec, PortLease
from store.objects.volumes import Volume, VolumeSpec

__all__ = [
    "AddressLease",
    "Container",
    "ContainerConfig",
    "ContainerSpec",
    "ContainerStatus",
    "Event",
    "HostConfig",
    "Image",
    "ImageSpec",
    "Layer",
    "Meta",
    "Network",
    "NetworkSpec",
    "Object",
    "PortLease",
    "Reference",
    "Volume",
    "VolumeSpec",
]
