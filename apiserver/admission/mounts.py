"""From ``-v``, ``--mount``, ``--tmpfs``, ``--volumes-from`` and the image's volumes to resolved mount points: pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

from msgspec.structs import replace

from store.errors import InvalidParameterError
from store.objects.containers import Container, ContainerConfig, HostConfig, Mount, MountPoint

PROPAGATIONS = frozenset({"shared", "rshared", "slave", "rslave", "private", "rprivate"})
LABELS = frozenset({"z", "Z"})
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def mount_points(
    config: ContainerConfig,
    host: HostConfig,
    find: Callable[[str], Container],
    new_name: Callable[[], str],
    data_root: PurePath,
) -> tuple[MountPoint, ...]:
    """Resolve everything that asks for a mount, later requests of the same kind refused, the image's volumes last.

    ``find`` gives a container by name (for volumes-from), ``new_name`` a name for an anonymous volume, ``data_root`` is
    where the engine's own mounts are. The sources of volumes stay empty: their directory is known once they exist.
    InvalidParameterError in dockerd's words.
    """
    points: dict[str, MountPoint] = {}
    for text in host.volumes_from or ():
        for point in _volumes_from(text, find):
            points[point.destination] = point
    taken: set[str] = set()

    def claim(point: MountPoint) -> None:
        if point.destination in taken:
            raise InvalidParameterError(f"Duplicate mount point: {point.destination}")
        taken.add(point.destination)
        points[point.destination] = _kept_loose(point, data_root) if point.type == "bind" else point

    for text in host.binds or ():
        claim(parse_bind(text, host.volume_driver, new_name))
    for mount in host.mounts or ():
        claim(_from_mount(mount, new_name))
    for destination in host.tmpfs or {}:
        clean = posixpath.normpath(destination)
        if not destination.startswith("/"):
            raise InvalidParameterError(f"invalid mount path: '{destination}' mount path must be absolute")
        if clean in taken:
            raise InvalidParameterError(f"Duplicate mount point: {clean}")
        taken.add(clean)
    for destination in config.volumes or {}:
        clean = _destination(destination, destination, "volume")
        if clean in taken or clean in points:
            continue
        points[clean] = MountPoint(
            type="volume",
            destination=clean,
            name=new_name(),
            driver=host.volume_driver or "local",
            copy_up=True,
            anonymous=True,
        )
    return tuple(points.values())


def _kept_loose(point: MountPoint, data_root: PurePath) -> MountPoint:
    """A bind with its propagation settled.

    Over the engine's own mounts it has to let go of them as the engine does, or the container would keep other
    containers' file systems alive (moby: validateBindDaemonRoot).
    """
    source = PurePath(point.source)
    if not (source.is_relative_to(data_root) or data_root.is_relative_to(source)):
        return replace(point, propagation=point.propagation or "rprivate")
    if point.propagation not in ("", "rslave", "rshared"):
        raise InvalidParameterError(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within '
            f'the daemon root, daemon root: "{data_root}", bind mount source: "{source}", '
            f'propagation: "{point.propagation}"'
        )
    return replace(point, propagation=point.propagation or "rslave")


def _volumes_from(text: str, find: Callable[[str], Container]) -> list[MountPoint]:
    name, _, mode = text.partition(":")
    if not name:
        raise InvalidParameterError(f"invalid volumes-from specification: '{text}'")
    if any(part not in ("rw", "ro", "z", "Z") for part in mode.split(",") if mode):
        raise InvalidParameterError(f"invalid mode: {mode}")
    points = []
    for point in find(name).spec.mounts:
        if point.type == "tmpfs":
            continue
        writable = point.read_write and "ro" not in mode.split(",")
        points.append(
            MountPoint(
                type=point.type,
                destination=point.destination,
                source=point.source,
                name=point.name,
                driver=point.driver,
                mode=mode,
                read_write=writable,
                propagation=point.propagation,
            )
        )
    return points


def _destination(destination: str, whole: str, kind: str) -> str:
    prefix = f"invalid volume specification: '{whole}': invalid mount config for type \"{kind}\": "
    if "\0" in destination:
        raise InvalidParameterError(prefix + f"invalid mount path: {destination!r}")
    if not destination.startswith("/"):
        raise InvalidParameterError(prefix + f"invalid mount path: '{destination}' mount path must be absolute")
    clean = posixpath.normpath(destination)
    if clean.startswith("//"):
        clean = clean[1:]
    if clean == "/":
        raise InvalidParameterError(prefix + "invalid specification: destination can't be '/'")
    return clean


def parse_bind(text: str, driver: str, new_name: Callable[[], str]) -> MountPoint:
    """Read ``[SOURCE:]DESTINATION[:MODE]`` as ``docker run -v`` has it."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise InvalidParameterError(f"invalid volume specification: '{text}'")
    if len(parts) == 1:
        clean = _destination(parts[0], text, "volume")
        return MountPoint(
            type="volume",
            destination=clean,
            name=new_name(),
            driver=driver or "local",
            mode="z",
            copy_up=True,
            anonymous=True,
        )
    if len(parts) == 2:
        source, destination, mode = parts[0], parts[1], ""
        # "DESTINATION:MODE" is an anonymous volume with a mode.
        if not destination.startswith("/") and _is_mode(destination) and source.startswith("/"):
            clean = _destination(source, text, "volume")
            return MountPoint(
                type="volume",
                destination=clean,
                name=new_name(),
                driver=driver or "local",
                mode=destination,
                read_write="ro" not in destination.split(","),
                copy_up="nocopy" not in destination.split(","),
                anonymous=True,
            )
    else:
        source, destination, mode = parts
    if not _is_mode(mode):
        raise InvalidParameterError(f"invalid mode: {mode}")
    flags = mode.split(",") if mode else []
    propagation = next((flag for flag in flags if flag in PROPAGATIONS), "")
    kind = "bind" if source.startswith("/") else "volume"
    clean = _destination(destination, text, kind)
    if kind == "bind":
        if "nocopy" in flags:
            raise InvalidParameterError(f"invalid mode: {mode}")
        return MountPoint(
            type="bind",
            destination=clean,
            source=posixpath.normpath(source),
            mode=mode,
            read_write="ro" not in flags,
            propagation=propagation,
        )
    if propagation:
        raise InvalidParameterError(f"invalid mode: {mode}")
    check_volume_name(source)
    return MountPoint(
        type="volume",
        destination=clean,
        name=source,
        driver=driver or "local",
        mode=mode or "z",
        read_write="ro" not in flags,
        copy_up="nocopy" not in flags,
    )


def check_volume_name(name: str) -> None:
    """Refuse a volume name that dockerd's local driver refuses (InvalidParameterError)."""
    if len(name) == 1 and name.isalnum():
        raise InvalidParameterError(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not VOLUME_NAME.fullmatch(name):
        raise InvalidParameterError(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def _is_mode(mode: str) -> bool:
    if not mode:
        return True
    flags = mode.split(",")
    groups: Sequence[frozenset[str]] = (frozenset({"rw", "ro"}), PROPAGATIONS, LABELS, frozenset({"nocopy"}))
    return all(any(flag in group for group in groups) for flag in flags) and all(
        sum(flag in group for flag in flags) <= 1 for group in groups
    )


def _refuse(kind: str, reason: str) -> InvalidParameterError:
    return InvalidParameterError(f'invalid mount config for type "{kind}": {reason}')


def _from_mount(mount: Mount, new_name: Callable[[], str]) -> MountPoint:
    kind = mount.type
    if kind not in ("bind", "volume", "tmpfs"):
        raise _refuse(kind, "mount type unknown")
    if not mount.target:
        raise _refuse(kind, "field Target must not be empty")
    if not mount.target.startswith("/"):
        raise _refuse(kind, f"invalid mount path: '{mount.target}' mount path must be absolute")
    destination = posixpath.normpath(mount.target)
    if destination == "/":
        raise _refuse(kind, "invalid specification: destination can't be '/'")
    for option, owner in (("bind_options", "bind"), ("volume_options", "volume"), ("tmpfs_options", "tmpfs")):
        if kind != owner and getattr(mount, option) is not None:
            field = {"bind_options": "BindOptions", "volume_options": "VolumeOptions"}.get(option, "TmpfsOptions")
            raise _refuse(kind, f"field {field} must not be specified")
    if kind == "tmpfs":
        if mount.source:
            raise _refuse(kind, "field Source must not be specified")
        return MountPoint(type="tmpfs", destination=destination, read_write=not mount.read_only)
    if kind == "bind":
        if not mount.source:
            raise _refuse(kind, "field Source must not be empty")
        if not mount.source.startswith("/"):
            raise _refuse(kind, f"invalid mount path: '{mount.source}' mount path must be absolute")
        options = mount.bind_options
        propagation = options.propagation if options else ""
        if propagation and propagation not in PROPAGATIONS:
            raise _refuse(kind, f"invalid propagation mode: {propagation}")
        return MountPoint(
            type="bind",
            destination=destination,
            source=posixpath.normpath(mount.source),
            read_write=not mount.read_only,
            propagation=propagation,
            non_recursive=bool(options and options.non_recursive),
        )
    volume = mount.volume_options
    if not mount.source and mount.read_only:
        raise _refuse(kind, "must not set ReadOnly mode when using anonymous volumes")
    if mount.source:
        check_volume_name(mount.source)
    driver = volume.driver_config.name if volume and volume.driver_config else ""
    return MountPoint(
        type="volume",
        destination=destination,
        name=mount.source or new_name(),
        driver=driver or "local",
        mode="z",
        read_write=not mount.read_only,
        copy_up=not (volume and volume.no_copy),
        anonymous=not mount.source,
    )
