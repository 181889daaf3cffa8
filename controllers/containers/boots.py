"""Which boot of the machine the engine last ran in, noted in the exec root.

A process id, even with its start time in ticks since boot, means another process after a reboot: machines boot alike.
What an earlier boot left in an exec root that is not a tmpfs must therefore not be believed.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from controllers.archive.kernel import is_mount_point
from controllers.containers import process
from controllers.layout import Layout


def is_new(layout: Layout) -> bool:
    """Whether the engine has not yet taken stock in this boot, as far as the exec root knows. Blocking."""
    return _noted(layout) != process.boot_id()


def forget_earlier(layout: Layout) -> None:
    """Remove what runs of an earlier boot left in the exec root. Blocking; idempotent.

    An exec root without a note is left alone: it is empty, or belongs to an engine that did not write one yet.
    """
    if _noted(layout) in ("", process.boot_id()):
        return
    for place in (layout.bundles, layout.exits, layout.attach, layout.runtime_state, layout.namespaces, layout.names):
        if not is_mount_point(place):
            shutil.rmtree(place, ignore_errors=True)


def note(layout: Layout) -> None:
    """Say that stock has been taken in this boot. Blocking."""
    new = layout.boot_note.with_suffix(".new")
    new.write_text(process.boot_id())
    os.replace(new, layout.boot_note)


def _noted(layout: Layout) -> str:
    with contextlib.suppress(OSError):
        return layout.boot_note.read_text()
    return ""
