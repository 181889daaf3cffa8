"""How much a directory holds. Blocking: call it in a thread."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def written_bytes(directory: Path) -> int:
    """The sizes of the files under a directory, each inode once, without following links; 0 when there is none."""
    total = 0
    seen: set[tuple[int, int]] = set()
    pending = [os.fspath(directory)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(info.st_mode):
                pending.append(entry.path)
            elif stat.S_ISREG(info.st_mode):
                key = (info.st_dev, info.st_ino)
                if info.st_nlink == 1 or key not in seen:
                    seen.add(key)
                    total += info.st_size
            elif stat.S_ISLNK(info.st_mode):
                total += info.st_size
    return total
