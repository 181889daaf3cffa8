"""Containers that live through all crashes and tell whether anything was lost, and some that die meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.crash.operations import ask
from tests.support.engine import Engine
from tests.support.surroundings import ADDRESS

PORT = 18099
COUNT = "mkdir -p /w; echo alive > /w/index.html; httpd -h /w; i=0; while :; do echo $i; i=$((i+1)); usleep 20000; done"
GATE = "gate"
ENDS = {0: "no", 3: "on-failure", 137: "no"}
"""Exit codes of the containers that end while the daemon is dead, with their restart policies."""


def counter(engine: Engine) -> str:
    """A container that writes numbered lines and has a port, which lives through everything."""
    return engine.run("-d", "-p", f"{PORT}:80", "--restart=always", "busybox:latest", "sh", "-c", COUNT)


@dataclass
class Visitor:
    """Asks the published port from outside, again and again; ``failures`` are the moments when nobody answered."""

    engine: Engine
    visits: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> threading.Thread:
        """Begin, in a thread."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            begun = time.time()
            try:
                answer = self._fetch()
            except OSError as error:
                answer = repr(error).encode()
            self.visits += 1
            if not answer.endswith(b"\r\n\r\nalive\n"):
                self.failures.append(f"at {begun:.3f} for {time.time() - begun:.1f} s: {answer!r}")

    def _fetch(self) -> bytes:
        with self.engine.surroundings.socket(outside=True) as connection:
            connection.settimeout(10)
            connection.connect((ADDRESS, PORT))
            connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
            return answer


class Follower:
    """``logs -f`` of the counter from its first line, until the daemon dies."""

    def __init__(self, engine: Engine, container: str) -> None:
        self._path = f"/containers/{container}/logs?follow=1&stdout=1&stderr=1"
        self._socket = str(engine.socket_path)
        self._data = bytearray()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(self._socket)
            connection.sendall(f"GET {self._path} HTTP/1.0\r\n\r\n".encode())
            while piece := connection.recv(65536):
                self._data += piece

    def numbers(self) -> list[int]:
        """What came, once the daemon is dead; a last piece may be cut."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the stream outlives its daemon"
        body = bytes(self._data).partition(b"\r\n\r\n")[2]
        lines = bytearray()
        while len(body) >= 8:
            length = struct.unpack(">I", body[4:8])[0]
            if len(body) < 8 + length:
                break
            lines += body[8 : 8 + length]
            body = body[8 + length :]
        return [int(line) for line in lines.split()]


class Mortals:
    """Containers that run until the daemon is dead, and end before it comes back."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ids: dict[int, str] = {}
        self._died = (0.0, 0.0)

    def start(self) -> None:
        """Start one for each exit code; they wait for a file in their volume."""
        ask(self._engine, "POST", "/volumes/create", {"Name": GATE})
        (self._engine.layout.volume_data(GATE) / "open").unlink(missing_ok=True)
        for code, policy in ENDS.items():
            wait = "while [ ! -e /gate/open ]; do usleep 10000; done; echo end"
            script = f"echo begin; [ -e /ran ] && exec sleep 1000; touch /ran; {wait}; exit {code}"
            options = f"-d -v {GATE}:/gate --restart {policy} busybox:latest sh -c".split()
            self._ids[code] = self._engine.run(*options, script)

    def end(self) -> None:
        """Have them end, by themselves or by SIGKILL, while nobody looks."""
        pids = {code: self._pid(uid) for code, uid in self._ids.items()}
        begun = time.time()
        os.kill(pids[137], signal.SIGKILL)
        (self._engine.layout.volume_data(GATE) / "open").touch()
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in pids.values()):
            assert time.monotonic() < deadline, f"{pids} do not end"
            time.sleep(0.01)
        self._died = (begun, time.time())

    def _pid(self, uid: str) -> int:
        return int((self._engine.layout.bundle(uid) / "pid").read_text())

    def judge(self, where: str) -> None:
        """The daemon is back: codes, times, logs and policies are right. They are removed."""
        for code, uid in self._ids.items():
            if ENDS[code] == "no":
                self._judge_ended(code, uid, where)
            else:
                self._judge_restarted(uid, where)
            self._engine.docker("rm", "-f", "-v", uid)

    def _judge_ended(self, code: int, uid: str, where: str) -> None:
        state = self._engine.inspect(uid)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", code), where
        # A file system's clock is some milliseconds behind.
        assert self._died[0] - 0.02 <= moment(state["FinishedAt"]) <= self._died[1] + 0.02, where
        assert self._engine.docker("logs", uid).out == ("begin\nend\n" if code != 137 else "begin\n"), where

    def _judge_restarted(self, uid: str, where: str) -> None:
        deadline = time.monotonic() + 20
        while not (found := self._engine.inspect(uid))["State"]["Running"]:
            assert time.monotonic() < deadline, f"{where}: not restarted: {found['State']}"
            time.sleep(0.05)
        assert found["RestartCount"] == 1, where
        assert self._died[0] - 0.02 <= moment(found["State"]["FinishedAt"]) <= self._died[1] + 0.02, where
        deadline = time.monotonic() + 20
        while (out := self._engine.docker("logs", uid).out) != "begin\nend\nbegin\n":
            assert time.monotonic() < deadline, f"{where}: {out}"
            time.sleep(0.05)


def moment(text: str) -> float:
    """A time of the API in seconds since the epoch."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) - time.timezone
    return seconds + float(f"0.{fraction or 0}")
