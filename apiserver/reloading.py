"""The event that tells of a reload: the settings as they are now, under dockerd's names."""

from __future__ import annotations

import json

from apiserver.admission.hostconfig import DEFAULT_SHM_SIZE
from apiserver.config import Settings
from apiserver.hostinfo import HostInfo
from store.objects import Event


def reload_event(settings: Settings, host: HostInfo) -> Event:
    """``daemon reload``. What dockerd names beside this are settings that we have not."""
    attributes = {
        "name": host.name,
        "debug": str(settings.log_level == "debug").lower(),
        "default-cgroupns-mode": "private" if host.cgroups.version == "2" else "host",
        "default-ipc-mode": "private",
        "default-runtime": settings.runtime,
        "default-shm-size": str(DEFAULT_SHM_SIZE),
        "insecure-registries": json.dumps(list(settings.insecure_registries), separators=(",", ":")),
        "labels": json.dumps(list(settings.labels), separators=(",", ":")),
        "live-restore": "true",
        "registry-mirrors": json.dumps(list(settings.registry_mirrors), separators=(",", ":")),
        "runtimes": f"{settings.runtime}:{settings.runtime}",
        "shutdown-timeout": f"{settings.graceful_timeout:g}",
    }
    return Event(type="daemon", action="reload", actor=host.engine_id, attributes=attributes)
