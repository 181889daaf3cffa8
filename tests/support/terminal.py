"""A person at a terminal: types, waits for what appears, resizes the window."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType


class Terminal:
    """A command on a pseudo-terminal of its own. Everything it ever wrote is in ``text``."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, rows: int = 24, columns: int = 80
    ) -> None:
        self._side, inner = pty.openpty()
        self.resize(rows, columns)
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(inner)
        self.text = ""
        self._seen = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, text: str | bytes) -> None:
        """Type."""
        data = text.encode() if isinstance(text, str) else text
        while data:
            data = data[os.write(self._side, data) :]

    def line(self, text: str) -> None:
        """Type a line and the return key."""
        self.send(text + "\r")

    def expect(self, pattern: str, within: float = 30) -> re.Match[str]:
        """Wait until a regular expression appears in what was written since the last match."""
        deadline = time.monotonic() + within
        while not (match := re.compile(pattern, re.MULTILINE).search(self.text, self._seen)):
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{pattern!r} did not appear; the terminal shows:\n{self.text}")
        self._seen = match.end()
        return match

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the kernel tells the command by SIGWINCH."""
        fcntl.ioctl(self._side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, within: float = 30) -> int:
        """Read on until the command has ended; its exit code."""
        deadline = time.monotonic() + within
        while self._read(deadline - time.monotonic()):
            pass
        try:
            return self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"still running after {within} s; the terminal shows:\n{self.text}") from late

    def close(self) -> None:
        """Hang up; kill the command if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            os.close(self._side)

    def _read(self, within: float) -> bool:
        """Take in what is there; False when the time is up or the command has closed the terminal."""
        if not select.select([self._side], [], [], max(0.0, within))[0]:
            return False
        try:
            data = os.read(self._side, 65536)
        except OSError:  # EIO: nobody holds the other side any more
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


def _take_terminal() -> None:
    # Whoever runs the tests in the background has these ignored, and children inherit that.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
