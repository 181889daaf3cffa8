"""What clients of older API versions mean by the same request: pure, by the table of changes."""

from __future__ import annotations

from msgspec.structs import replace

from apiserver.wire.versions import ApiVersion, has
from store.objects.containers import HostConfig, Mount


def as_meant(host: HostConfig, api: ApiVersion) -> HostConfig:
    """A host configuration without what the client's version does not know, and with its version's defaults."""
    return replace(
        host,
        auto_remove=host.auto_remove and has(api, "create.auto-remove"),
        kernel_memory_tcp=host.kernel_memory_tcp if has(api, "create.kernel-memory-tcp") else 0,
        ipc_mode=host.ipc_mode or ("private" if has(api, "create.ipc-mode-private") else "shareable"),
        cgroupns_mode=host.cgroupns_mode or ("" if has(api, "create.cgroupns-mode-by-host") else "host"),
        mounts=host.mounts if has(api, "create.bind-non-recursive") else _recursive(host.mounts),
    )


def _recursive(mounts: list[Mount] | None) -> list[Mount] | None:
    return [
        replace(mount, bind_options=replace(mount.bind_options, non_recursive=False)) if mount.bind_options else mount
        for mount in mounts or ()
    ] or mounts
