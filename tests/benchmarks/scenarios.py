"""Growth, endurance and return: each gives lines of a table."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence

from tests.benchmarks.measures import (
    Client,
    descriptors,
    family,
    in_parallel,
    leaks,
    memory,
    milliseconds,
    monitors,
)
from tests.support.engine import Engine

SLEEPER = json.dumps(
    {
        "Image": "busybox:latest",
        "Cmd": ["sleep", "100000"],
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": ""}]}},
    }
).encode()
TRUE = json.dumps({"Image": "busybox:latest", "Cmd": ["true"]}).encode()
EXEC = json.dumps({"Cmd": ["true"], "AttachStdout": True}).encode()


def growth(engine: Engine, sizes: Sequence[int]) -> Iterator[str]:
    """The start of one more container, the list and the memory, at each number of running containers."""
    client = Client(engine)
    first = 0.0
    before = memory(family(engine.pid))
    yield f"{'running':>8} {'start ms':>9} {'of first':>9} {'list ms':>8} {'daemon MiB':>11} {'MiB each':>9}"
    running = 0
    for size in (0, *sizes):
        if size > running:
            in_parallel(engine, size - running, 4, f"grow{size}x", SLEEPER)
            running = size
        times = []
        for number in range(9):
            client.call("POST", f"/containers/create?name=probe{number}", SLEEPER)
            begin = time.perf_counter()
            client.call("POST", f"/containers/probe{number}/start")
            times.append((time.perf_counter() - begin) * 1000)
            client.call("DELETE", f"/containers/probe{number}?force=1")
        start = statistics.median(times)
        first = first or start
        daemon = memory(family(engine.pid))
        each = (daemon - before + memory(monitors(engine))) / running if running else 0.0
        listing = milliseconds(client, "GET", "/containers/json?all=1")
        yield f"{running:>8} {start:>9.1f} {start / first:>9.2f} {listing:>8.2f} {daemon:>11.1f} {each:>9.2f}"
    client.close()


def soak(engine: Engine, lives: int, execs: int) -> Iterator[str]:
    """Many containers and execs, one after the other: memory and descriptors must stay as they are after the first."""
    client = Client(engine)
    client.call("POST", "/containers/create?name=host", SLEEPER)
    client.call("POST", "/containers/host/start")
    yield f"{'lives':>8} {'execs':>8} {'daemon MiB':>11} {'files':>6}"
    tenth = max(1, max(lives, execs) // 10)
    for number in range(max(lives, execs)):
        if number < lives:
            created = json.loads(client.call("POST", "/containers/create", TRUE))["Id"]
            client.call("POST", f"/containers/{created}/start")
            client.call("POST", f"/containers/{created}/wait")
            client.call("DELETE", f"/containers/{created}")
        if number < execs:
            identity = json.loads(client.call("POST", "/containers/host/exec", EXEC))["Id"]
            Client(engine).call("POST", f"/exec/{identity}/start", b'{"Detach":false}')
        if (number + 1) % tenth == 0:
            done = number + 1
            yield (
                f"{min(done, lives):>8} {min(done, execs):>8} "
                f"{memory(family(engine.pid)):>11.1f} {descriptors(engine.pid):>6}"
            )
    client.call("DELETE", "/containers/host?force=1")
    client.close()
    yield f"left over: {leaks(engine) or 'nothing'}"


def restart(engine: Engine, running: int) -> Iterator[str]:
    """How long the daemon takes to be ready again after kill -9, with containers running."""
    in_parallel(engine, running, 4, "back", SLEEPER)
    times = []
    for _ in range(5):
        engine.kill9()
        begin = time.perf_counter()
        engine.start()
        times.append(time.perf_counter() - begin)
    median, worst = statistics.median(times), max(times)
    yield f"ready after kill -9 with {running} running: median {median:.2f} s, worst {worst:.2f} s"
    yield f"daemon {memory(family(engine.pid)):.1f} MiB, monitors {memory(monitors(engine)):.1f} MiB"
    yield f"left over: {leaks(engine) or 'nothing'}"
