"""The runtime's complaints in dockerd's words, with the exit code that dockerd gives the container."""

from __future__ import annotations

import json
from pathlib import Path

from store.errors import EngineError, InvalidParameterError

NOT_FOUND, NOT_INVOKABLE, FAILED = 127, 126, 128
# A runtime refuses what it was asked for, unless the host is at its end.
_HOST_TROUBLE = (
    "no space left",
    "cannot allocate memory",
    "too many open files",
    "resource temporarily unavailable",
    "input/output error",
    "timed out",
    "timeout",
)
_MISMATCH = (
    ": Are you trying to mount a directory onto a file (or vice-versa)? "
    "Check if the specified host path exists and is the expected type"
)


class StartError(InvalidParameterError):
    """A container that cannot start because of what was asked for; ``exit_code`` is 126 or 127."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def exit_code(error: EngineError) -> int:
    """The exit code that a container gets for an error on its way up."""
    return error.exit_code if isinstance(error, StartError) else FAILED


def last_words(log: Path, otherwise: str) -> str:
    """The last error in a runtime's JSON log, or ``otherwise`` where it has none."""
    found = otherwise
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return otherwise.strip()
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal") and entry.get("msg"):
            found = str(entry["msg"])
    return found.strip()


def starting(program: str, reason: str) -> EngineError:
    """The error for a container whose first process is ``program``, from the runtime's ``reason``."""
    text = f"failed to create shim task: OCI runtime create failed: {reason}: unknown"
    lower = text.lower()
    found = _blamed(text)
    # What is not found on the PATH is the program; which file does not exist must be looked at.
    missing = "no such file or directory" in lower and program.lower() in lower
    if missing or "executable file not found" in lower:
        found = StartError(text, NOT_FOUND)
    if "permission denied" in lower:
        found = StartError(text, NOT_INVOKABLE)
    if "not a directory" in lower:
        found = StartError(text + _MISMATCH, NOT_FOUND)
    return found


def executing(reason: str) -> EngineError:
    """The error for an exec, from the runtime's ``reason``."""
    text = f"OCI runtime exec failed: {reason}: unknown"
    return _blamed(text)


def _blamed(text: str) -> EngineError:
    trouble = any(words in text.lower() for words in _HOST_TROUBLE)
    return EngineError(text) if trouble else InvalidParameterError(text)
