"""Programs that the tests use: those unpacked under ``.cache/debian`` first, then those of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".cache"
_UNPACKED = CACHE / "debian" / "usr"


def search_path() -> str:
    """PATH with the unpacked packages in front, so that a test meets the same versions on every machine."""
    return os.pathsep.join(
        [str(_UNPACKED / "bin"), str(_UNPACKED / "sbin"), os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/sbin"]
    )


def program(name: str) -> str:
    """Where a program is; a failure says how to get it."""
    found = shutil.which(name, path=search_path())
    if found is None:
        raise FileNotFoundError(f"{name} is not on this machine: run ./deploy/test --prepare")
    return found


def environment(**more: str) -> dict[str, str]:
    """What a program under test gets to see: nothing of the developer's own settings."""
    return {"PATH": search_path(), "HOME": "/root", "LANG": "C.UTF-8", "TZ": "UTC", **more}


def sample_archive() -> Path:
    """``busybox:latest`` as ``docker save`` would write it, made once and kept."""
    archive = CACHE / "busybox.tar"
    if not archive.exists():
        CACHE.mkdir(exist_ok=True)
        part = CACHE / f"busybox.tar.{os.getpid()}"
        subprocess.run([PROJECT / "deploy" / "sample-image", "--output", part], check=True, stdin=subprocess.DEVNULL)
        part.rename(archive)
    return archive
