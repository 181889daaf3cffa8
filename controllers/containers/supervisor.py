"""The parent of everything that ``exec`` runs: one small process beside the engine. Run as a program, not imported.

``runtime exec --detach`` leaves its process to whoever collects orphans. This program asks the kernel to be that one,
so it learns each exit code, and the engine keeps no runtime process alive for an exec. It starts from a bare
interpreter with few imports, because it must be small and quick to fork.

On descriptor 0 it has a SEQPACKET socket. A request is JSON, ``{"id", "arguments", "pidfile"}``, with three descriptors
for the standard streams; answers are ``{"id", "pid"}`` or ``{"id", "failed": code}`` and later ``{"id", "code"}``.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket

_PR_SET_CHILD_SUBREAPER = 36
_REQUEST_LIMIT = 65536


class Supervisor:
    """Starts runtimes, tells what became of them and of the processes that they left."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._starting: dict[int, tuple[str, str]] = {}
        self._running: dict[int, str] = {}
        self._strangers: dict[int, int] = {}

    def request(self) -> bool:
        """Serve one request; false when the engine is gone."""
        data, descriptors, _, _ = socket.recv_fds(self._link, _REQUEST_LIMIT, 3)
        if not data:
            return False
        asked = json.loads(data)
        try:
            pid = os.posix_spawn(
                asked["arguments"][0],
                asked["arguments"],
                {"PATH": os.environ.get("PATH", os.defpath), "XDG_RUNTIME_DIR": "/run"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(descriptors)
                ],
                setsigmask=[],
                setsigdef=[signal.SIGPIPE],
            )
            self._starting[pid] = (asked["id"], asked["pidfile"])
        except OSError:
            self._tell({"id": asked["id"], "failed": 255})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def collect(self) -> None:
        """Take in every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self._ended(pid, code if code >= 0 else 128 - code)

    def _ended(self, pid: int, code: int) -> None:
        if pid in self._running:
            self._tell({"id": self._running.pop(pid), "code": code})
        elif pid in self._starting:
            identity, pidfile = self._starting.pop(pid)
            self._started(identity, pidfile, code)
        else:
            self._strangers[pid] = code
        if not self._starting:
            self._strangers.clear()

    def _started(self, identity: str, pidfile: str, code: int) -> None:
        left = 0
        if code == 0:
            with contextlib.suppress(OSError, ValueError), open(pidfile) as source:
                left = int(source.read())
        if not left:
            self._tell({"id": identity, "failed": code})
            return
        self._tell({"id": identity, "pid": left})
        if left in self._strangers:
            self._tell({"id": identity, "code": self._strangers.pop(left)})
        else:
            self._running[left] = identity

    def _tell(self, answer: dict[str, object]) -> None:
        self._link.send(json.dumps(answer).encode())


def main() -> None:
    """Serve until the engine closes its end."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    waking, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    link = socket.socket(fileno=0)
    os.set_inheritable(0, False)
    supervisor = Supervisor(link)
    poll = select.poll()
    poll.register(link, select.POLLIN)
    poll.register(waking, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == waking:
                os.read(waking, 4096)
                supervisor.collect()
            elif not supervisor.request():
                return


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        main()
