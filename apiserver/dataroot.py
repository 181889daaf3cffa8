"""The data root belongs to one daemon."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from apiserver.config import ConfigError
from apiserver.preflight import LOCK_NAME


class DataRootLock:
    """Holds a data root for one process; the kernel lets go of it when that process ends, however it ends."""

    def __init__(self, data_root: Path) -> None:
        self._data_root = data_root
        self._descriptor = -1

    def __enter__(self) -> DataRootLock:
        """Creates the data root where it is missing; raises ConfigError when another daemon holds it."""
        try:
            self._data_root.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._descriptor = os.open(self._data_root / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigError(
                f"another daemon runs on --data-root {self._data_root}: stop it or choose another"
            ) from None
        except OSError as error:
            raise ConfigError(f"--data-root {self._data_root} cannot be used: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


class PidFile:
    """The file that says which process the daemon is; removed at the end if it still says so."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def __enter__(self) -> PidFile:
        """Raises ConfigError when it cannot be written."""
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.write_text(f"{os.getpid()}\n")
            except OSError as error:
                raise ConfigError(f"--pidfile {self._path} cannot be written: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._path is None:
            return
        try:
            if self._path.read_text().strip() == str(os.getpid()):
                self._path.unlink()
        except OSError:
            return
