"""Copy-up: an empty volume gets what the image has where it is mounted. Blocking functions, for a thread.

Most volumes need no copy, so that is found out here, without a helper process.
"""

from __future__ import annotations

import enum
import os
import stat
from pathlib import Path

from controllers.archive.kernel import sync_directory, sync_file_system
from controllers.containers.inroot import open_in_root

MARKER = "populating"


class Need(enum.Enum):
    """What a volume still needs: nothing, nothing for ever, a copy, or a copy after what a cut one left is removed."""

    NOTHING = "nothing"
    FILLED = "filled"
    COPY = "copy"
    COPY_ANEW = "copy anew"


def assess(root: Path, destination: str, data: Path, *, plain: bool) -> Need:
    """Look at both directories; an empty one in the image gives the volume its owner and mode at once.

    ``plain``: the volume is a directory of ours, so that what a cut copy left there may be removed. Before a copy a
    marker is left on the disk beside the data, for ``finished`` to remove.
    """
    marker = data.parent / MARKER
    interrupted = marker.exists()
    filled = any(data.iterdir())
    if filled and not interrupted:
        return Need.FILLED
    try:
        source = open_in_root(root, destination, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return Need.NOTHING
    try:
        if not interrupted and not os.listdir(source):
            info = os.fstat(source)
            os.chown(data, info.st_uid, info.st_gid)
            os.chmod(data, stat.S_IMODE(info.st_mode))
            return Need.NOTHING
    finally:
        os.close(source)
    marker.touch()
    sync_directory(marker.parent)
    return Need.COPY_ANEW if interrupted and filled and plain else Need.COPY


def finished(data: Path) -> None:
    """The copy is complete: it reaches the disk before that is said, or half of it might be taken for the whole."""
    sync_file_system(data)
    (data.parent / MARKER).unlink(missing_ok=True)
    sync_directory(data.parent)
