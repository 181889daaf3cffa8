"""What is measured of a running engine, from outside."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.audit import Auditor
from tests.support.engine import Engine

MIB = 1024 * 1024


def family(pid: int) -> list[int]:
    """A daemon and its helpers: it adopts its containers' monitors too, which are counted apart."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue
            if name != "conmon":
                children.setdefault(int(rest.split()[1]), []).append(int(entry.name))
    found, pending = [], [pid]
    while pending:
        found.append(pending.pop())
        pending += children.get(found[-1], [])
    return found


def memory(pids: Iterable[int]) -> float:
    """The proportional set size of some processes together, in MiB (proc(5), smaps_rollup)."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total / MIB


def monitors(engine: Engine) -> list[int]:
    """The process ids of the engine's conmons."""
    mark = os.fsencode(engine.exec_root)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.path.basename(words[0]) == b"conmon" and any(mark in word for word in words):
                found.append(int(entry.name))
    return found


def descriptors(pid: int) -> int:
    """How many files a process holds open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def leaks(engine: Engine) -> list[str]:
    """What the host holds beyond the rows, or lacks, once clean-up has had its time."""
    return Auditor(engine.layout, engine.pid, lambda path: engine.request("GET", path).json()).settled(30)


class Client:
    """A connection that is kept, so that what is timed is the engine."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connection(120)

    def call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One request that has to succeed."""
        headers = {"Content-Type": "application/json"} if body else {}
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        assert response.status < 400, (method, path, response.status, answer)
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def milliseconds(client: Client, method: str, path: str, rounds: int = 9) -> float:
    """The median time of a request."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        client.call(method, path)
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def in_parallel(engine: Engine, count: int, workers: int, name: str, body: bytes) -> None:
    """Create and start containers ``name0`` to ``name(count-1)``."""

    def one(number: int) -> None:
        client = Client(engine)
        client.call("POST", f"/containers/create?name={name}{number}", body)
        client.call("POST", f"/containers/{name}{number}/start")
        client.close()

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, range(count)))
