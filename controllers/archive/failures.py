"""How a job's failure is worded and classified before it travels back to the daemon."""

from __future__ import annotations

import errno
import os

from store.errors import EngineError, InvalidParameterError, NotFoundError

TAR_IS_TO_BLAME = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EEXIST})


def words(error: OSError) -> str:
    """An OSError as Go would print it: lower case, the path first."""
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    name = error.filename
    return f"{os.fsdecode(name)}: {reason}" if isinstance(name, str | bytes) else reason


def classify(error: BaseException) -> EngineError:
    """The error of ``store.errors`` that the client is to see for whatever went wrong inside a job."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, FileNotFoundError):
        return NotFoundError(words(error))
    if isinstance(error, OSError):
        return (InvalidParameterError if error.errno in TAR_IS_TO_BLAME else EngineError)(words(error))
    if isinstance(error, RecursionError | MemoryError):
        return InvalidParameterError("the tree is too deep or too large")
    return EngineError(f"{type(error).__name__}: {error}")
