"""A machine that commands can be run in, that can be booted anew and whose power can be cut."""

from __future__ import annotations

import contextlib
import http.client
import json
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.machine.inside import SOCKET
from tests.support.daemon import Answer, exchange

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "/root/wharfinger-under-test"
PYTHON = "/opt/wharfinger/.venv/bin/python"
PATIENCE = 900.0
"""Seconds; such machines are often emulated, and slow."""
INSTALLED_WITHIN = 3600.0

# Runs inside: carries bytes between its standard input and output and the API's socket.
PIPE = f"""
import os, socket, threading
s = socket.socket(socket.AF_UNIX)
s.connect({SOCKET!r})
def carry(read, write, end):
    while data := read():
        write(data)
    end()
threading.Thread(target=carry, daemon=True,
    args=(lambda: os.read(0, 65536), s.sendall, lambda: s.shutdown(socket.SHUT_WR))).start()
def out(data):
    while data:
        data = data[os.write(1, data):]
carry(lambda: s.recv(65536), out, lambda: None)
"""


class Lost(ConnectionError):
    """The machine, or the daemon in it, ended before it answered."""


class Machine:
    """``run`` is a command to which one argument is added, a shell line that runs as root inside; its standard input
    and output, and its exit status, pass through. ``reboot`` and ``cut`` return once the machine is up again."""

    def __init__(self, run: str, reboot: str, cut: str) -> None:
        self._run = shlex.split(run)
        self._reboot = shlex.split(reboot)
        self._cut = shlex.split(cut)
        self._local = threading.local()
        self._pipes: set[subprocess.Popen[bytes]] = set()

    def run(self, line: str, *, stdin: bytes = b"", check: bool = True, timeout: float = PATIENCE) -> str:
        """Run a shell line inside; its standard output."""
        done = subprocess.run([*self._run, line], input=stdin, capture_output=True, timeout=timeout)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode:
            raise AssertionError(f"{line}: exit code {done.returncode}: {out}{err}")
        return out

    def copy(self) -> None:
        """Put this project's files into the machine."""
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        packed = subprocess.run(
            ["tar", "--create", "--null", "--files-from=-"], cwd=ROOT, input=files, capture_output=True, check=True
        ).stdout
        self.run(f"rm -rf {PROJECT}; mkdir {PROJECT}; tar -C {PROJECT} -x", stdin=packed)

    def install(self) -> None:
        """Install the files that were put there as the service."""
        self.run(f"{PROJECT}/deploy/install-service", timeout=INSTALLED_WITHIN)

    def reboot(self) -> None:
        """Boot anew, cleanly, and wait for the service."""
        self._die(self._reboot)

    def cut(self) -> None:
        """Cut the power, boot, and wait for the service."""
        self._die(self._cut)

    def _die(self, command: list[str]) -> None:
        try:
            subprocess.run(command, check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        finally:
            # Connections of the last boot, also those that threads wait on.
            for pipe in list(self._pipes):
                pipe.kill()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the API answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/_ping").status == 200:
                    return
            assert time.monotonic() < deadline, f"not ready in {PATIENCE:g} s"
            time.sleep(1)

    def inside(self, job: str) -> Any:
        """Run a job of ``tests.machine.inside`` in the machine; what it found, from JSON."""
        return json.loads(self.run(f"cd {PROJECT} && {PYTHON} -m tests.machine.inside {job}"))

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        timeout: float = PATIENCE,
    ) -> Answer:
        """One request to the API inside, over this thread's own connection. ``Lost`` when no answer came."""
        connection = self._connection(timeout)
        try:
            return exchange(connection, method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._local.connection = None
            connection.close()
            raise Lost(str(error)) from None

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None or connection.sock is None:
            connection = http.client.HTTPConnection("docker")
            connection.auto_open = 0
            connection.sock = self._piped()
            self._local.connection = connection
        connection.sock.settimeout(timeout)
        return connection

    def _piped(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            pipe = subprocess.Popen(
                [*self._run, f"exec python3 -c {shlex.quote(PIPE)}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
            )
        self._pipes.add(pipe)
        threading.Thread(target=self._reap, args=(pipe,), daemon=True).start()
        return ours

    def _reap(self, pipe: subprocess.Popen[bytes]) -> None:
        pipe.wait()
        self._pipes.discard(pipe)


def ask(machine: Machine, method: str, path: str, body: Any = None, *, fine: tuple[int, ...] = ()) -> Answer:
    """A request that has to succeed, or to be refused with one of the ``fine`` codes."""
    answer = machine.request(method, path, body)
    assert answer.status < 300 or answer.status in fine, (method, path, answer.status, answer.body)
    return answer


def eventually(what: str, condition: Callable[[], Any], within: float = PATIENCE) -> Any:
    """What ``condition`` returns, once that is true; ``what`` tells of it when it never is."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not so within {within:g} s"
        time.sleep(1)
    return found
