"""One bad request after the other, and what must hold after each."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.integration.badinput.document import Operation
from tests.integration.badinput.generate import EXEC
from tests.integration.badinput.stage import CONTAINERS, Snapshot, Stage
from tests.integration.badinput.values import ESCAPE
from tests.integration.badinput.wire import Reply, Request, again, exchange
from tests.support.engine import Engine
from tests.support.tools import CACHE

PATIENCE = 40.0
TRACES = ("Traceback (most recent call last)", 'File "/', "unexpected failure", "exception was never retrieved")
STREAMS = (
    "SystemEvents",
    "ContainerStats",
    "ContainerLogs",
    "ContainerAttach",
    "ContainerAttachWebsocket",
    "ExecStart",
)
"""Operations that may answer for ever."""
UNSEEN = ("ContainerKill", "PutContainerArchive")
"""Operations that may change a container in ways that no list shows."""
MEMORY = 48
"""Megabytes by which the daemon may grow, once it has warmed up, however much nonsense it hears."""


class Misbehaviour(AssertionError):
    """The engine did what it must not."""


class Arena:
    """An engine under attack; ``tally`` counts requests by operation and status."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.stage = Stage(engine)
        self.tally: Counter[tuple[str, int]] = Counter()
        self.requests = 0
        self._sentinels = _plant(engine)
        self._logged = engine.log_path.stat().st_size
        self._warm = 0

    def challenge(self, operation: Operation, request: Request) -> None:
        """Send a request and hold the answer, and the engine, to what was promised. Raises Misbehaviour."""
        raw = request.render()
        if EXEC.encode() in request.target:
            raw = raw.replace(EXEC.encode(), self.stage.exec_id().encode())
        self.send(operation.name, raw, head=request.method == "HEAD")

    def send(self, name: str, raw: bytes, *, head: bool = False, cut: bool = False) -> Reply:
        """The same for bytes; ``name`` is the operation that they are for."""
        self.requests += 1
        waits = name == "ContainerWait"
        seconds = 0.5 if waits else PATIENCE
        reply = exchange(
            self.engine.socket_path, raw, seconds=seconds, stream=name in STREAMS or waits, bodiless=head, cut=cut
        )
        self.tally[name, reply.status] += 1
        try:
            self._check(name, reply, head=head, silent=waits or cut)
        except Misbehaviour as found:
            self._recover()
            raise Misbehaviour(
                f"{found}\n{reply.head!r}\n{reply.body[:1000]!r}\nSend it again:\n{again(raw, CACHE / 'bad-input')}"
            ) from None
        return reply

    def _check(self, name: str, reply: Reply, *, head: bool, silent: bool) -> None:
        self._check_answer(name, reply, head=head, silent=silent)
        now = self.stage.snapshot()
        refused = reply.status >= 400 or reply.failed_midway
        if refused and now != self.stage.before:
            raise Misbehaviour(f"refused, and yet something changed: {_difference(self.stage.before, now)}")
        if name == "ContainerCreate" and reply.status == 201:
            self._start(json.loads(reply.body)["Id"])
        if name in UNSEEN and not refused:
            self.stage.restore(*CONTAINERS)
        elif now != self.stage.before:
            self.stage.restore()

    def _start(self, container: str) -> None:
        """Some things are wrong only where they are put to use."""
        raw = Request("POST", f"/containers/{container}/start".encode()).render()
        reply = exchange(self.engine.socket_path, raw, seconds=PATIENCE)
        self.tally["ContainerStart", reply.status] += 1
        try:
            self._check_answer("ContainerStart", reply, head=False, silent=False)
        except Misbehaviour as problem:
            raise Misbehaviour(f"{problem} at the start: {reply.body!r}") from None

    def _check_answer(self, name: str, reply: Reply, *, head: bool, silent: bool) -> None:
        if not self.engine.alive:
            raise Misbehaviour("the daemon has ended")
        if reply.status == 0 and not silent:
            raise Misbehaviour("no answer")
        if not reply.whole:
            raise Misbehaviour("the answer is cut off")
        if reply.status >= 500 and not _excused(name, reply):
            raise Misbehaviour(f"status {reply.status}")
        if reply.status >= 400 and not head and not reply.message:
            raise Misbehaviour("an error without a message")
        if any(trace.encode() in reply.body for trace in TRACES[:2]):
            raise Misbehaviour("a stack trace in the answer")
        logged = self._new_log()
        if any(trace in logged for trace in TRACES):
            raise Misbehaviour(f"a stack trace in the log: {logged[-3000:]}")

    def _recover(self) -> None:
        if not self.engine.alive:
            self.engine.start()
        self._new_log()
        self.stage.restore(*CONTAINERS)
        self._new_log()

    def _new_log(self) -> str:
        with self.engine.log_path.open("rb") as log:
            log.seek(self._logged)
            text = log.read()
        self._logged += len(text)
        return text.decode(errors="replace")

    def open_files(self) -> list[str]:
        """The daemon's descriptors."""
        return os.listdir(f"/proc/{self.engine.pid}/fd")

    @contextlib.contextmanager
    def memory_watched(self, megabytes: int, *, helpers: bool) -> Iterator[None]:
        """The daemon (or all that it runs, its ``helpers`` too) grows by no more than so much while the block runs."""
        measure = self._memory_of_all if helpers else lambda: memory(self.engine.pid)
        before, most, stop = measure(), 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not stop.wait(0.05):
                most = max(most, measure())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if most > before + megabytes:
            raise Misbehaviour(f"from {before} to {most} MB")

    def _memory_of_all(self) -> int:
        """Of all that runs in the engine's surroundings, in megabytes."""
        used = 0
        for pid in self.engine.surroundings.processes():
            with contextlib.suppress(OSError, IndexError):
                used += memory(pid)
        return used

    def wait(self, true: Callable[[], object], what: str) -> None:
        """Wait, generously, for something that comes by itself."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > deadline:
                raise Misbehaviour(what)
            time.sleep(0.05)

    def check_around(self) -> None:
        """What would cost too much after every request: nothing was written outside, and memory is bounded."""
        for path, content in self._sentinels.items():
            if path.read_bytes() != content:
                raise Misbehaviour(f"{path} was written to")
        if escaped := list(_escaped(self.engine)):
            raise Misbehaviour(f"written outside: {escaped}")
        used = memory(self.engine.pid)
        if not self._warm and self.requests >= 1000:
            self._warm = used
        if self._warm and used > self._warm + MEMORY:
            raise Misbehaviour(f"the daemon has grown from {self._warm} to {used} MB")

    def table(self) -> str:
        """Requests by operation and status, a line each, with the sums."""
        statuses = sorted({status for _, status in self.tally})
        names = sorted({name for name, _ in self.tally})
        lines = [_row("", [str(status) if status else "silent" for status in statuses])]
        lines += [_row(name, [self.tally[name, status] or "" for status in statuses]) for name in names]
        lines.append(_row("all", [sum(self.tally[name, status] for name in names) for status in statuses]))
        return "\n".join(lines)


def _row(name: str, cells: Sequence[object]) -> str:
    return f"{name:<28}" + "".join(f"{cell:>8}" for cell in cells)


def _excused(name: str, reply: Reply) -> bool:
    """What is not the engine's fault, nor the client's: what comes later, and a registry that cannot be reached."""
    if reply.status == 501:
        return "not implemented" in reply.message or "does not support reading" in reply.message
    return name == "ImageCreate" and re.match(r'Get "https?://[^"]*": dial tcp', reply.message) is not None


def memory(pid: int) -> int:
    """A process's resident memory in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def _difference(before: Snapshot, now: Snapshot) -> str:
    for path, one in before.items():
        other = now[path]
        if one != other:
            at = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
            return f"{path}: …{one[max(0, at - 60) : at + 60]!r} became …{other[max(0, at - 60) : at + 60]!r}"
    return "nothing"


def _plant(engine: Engine) -> dict[Path, bytes]:
    """Files beside the engine's roots that nothing may touch."""
    planted = {
        engine.directory / "sentinel": b"beside the roots",
        engine.directory / "data.sentinel": b"nearly the data root's name",
        engine.directory / "outside" / "secret": b"in a directory of its own",
    }
    for path, content in planted.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return planted


def _escaped(engine: Engine) -> Iterator[Path]:
    for directory in map(Path, ("/", "/tmp", "/etc", "/var", "/root", "/dev", "/run", "/var/tmp", "/var/lib")):
        yield from (*directory.glob(f"*{ESCAPE}*"), *directory.glob("evil"))
    for top, directories, files in os.walk(engine.directory):
        # What is below containers and layers is inside, and volumes' data is the containers' own.
        directories[:] = [name for name in directories if name not in ("upper", "merged", "diff", "_data")]
        with contextlib.suppress(OSError):
            yield from (Path(top, name) for name in (*directories, *files) if ESCAPE in name or name == "evil")
