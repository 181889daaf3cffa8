"""``--log-opt max-size``, ``max-file``: logs begin new files while their containers run, whatever the daemon does."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.engine import Engine
from tests.support.tools import program

COUNT = "i=0; while [ $i -lt {} ]; do echo line $i; i=$((i+1)); {}; done"


def numbers(text: str) -> list[int]:
    return [int(line.removeprefix("line ")) for line in text.splitlines()]


def run(daemon: Daemon, options: str, count: int, pause: str = ":", *, then: str = "sleep 1000") -> str:
    """A container that writes so many numbered lines, with these log options; its id."""
    words = [word for option in options.split() for word in ("--log-opt", option)]
    return daemon.run("-d", *words, "busybox", "sh", "-c", f"{COUNT.format(count, pause)}; {then}")


def shown(daemon: Daemon, container: str, *flags: str) -> list[int]:
    return numbers(daemon.docker("logs", *flags, container).out)


def until_last(daemon: Daemon, container: str, last: int) -> None:
    """Wait until a line has been logged."""
    deadline = time.monotonic() + 60
    while (lines := shown(daemon, container, "--tail", "1")) != [last]:
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)


def log_files(engine: Engine, container: str) -> dict[str, int]:
    """The sizes of a log's files by name."""
    return {file.name: file.stat().st_size for file in engine.layout.log(container).parent.glob("log*")}


def bounded(engine: Engine, container: str, files: int, size: int) -> None:
    """The log comes down to so many files of about that size each."""
    deadline = time.monotonic() + 30
    while True:
        found = log_files(engine, container)
        if len(found) <= files and all(each < 2 * size for name, each in found.items() if "." not in name):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.mark.parametrize("options", ["max-size=4k max-file=3", "max-size=4k", "max-size=4k max-file=3 compress=true"])
def test_the_newest_lines_are_kept_without_a_gap(daemon: Daemon, options: str) -> None:
    container = run(daemon, options, 3000, "usleep 500")
    until_last(daemon, container, 2999)
    lines = shown(daemon, container)
    assert lines == list(range(lines[0], 3000))
    # A line has some fifty to ninety bytes in the files, by engine.
    assert len(lines) < 700
    for tail in (1, 3, len(lines), 5000):
        assert shown(daemon, container, "--tail", str(tail)) == lines[-tail:]
    if isinstance(daemon, Engine):
        bounded(daemon, container, 1 if "max-file" not in options else 3, 4000)


def test_since_and_until_reach_across_files(engine: Engine) -> None:
    container = run(engine, "max-size=4k max-file=5", 400, "usleep 2000")
    until_last(engine, container, 399)
    stamped = [line.split(" ", 1) for line in engine.docker("logs", "-t", container).out.splitlines()]
    assert len(log_files(engine, container)) > 2
    moments = [moment for moment, _ in stamped]
    first, last = len(stamped) // 4, len(stamped) * 3 // 4
    expected = [text for moment, text in stamped if moments[first] <= moment <= moments[last]]
    got = engine.docker("logs", "--since", moments[first], "--until", moments[last], container).out.splitlines()
    assert got == expected


@pytest.mark.parametrize(
    "options", ["max-size=4k max-file=20", "max-size=20k", "max-size=4k max-file=20 compress=true"]
)
def test_a_follower_sees_each_line_once(engine: Engine, options: str) -> None:
    container = run(engine, options, 1500, "usleep 2000", then="exit 0")
    command = [program("docker"), "logs", "-f", container]
    done = subprocess.run(command, env=engine.docker_environment(), capture_output=True, text=True, timeout=100)
    assert numbers(done.stdout) == list(range(1500))


@pytest.mark.parametrize("options", ["max-size=10k max-file=100", "max-size=10k max-file=100 compress=true"])
def test_what_was_written_while_the_daemon_was_dead_is_kept(private_engine: Engine, options: str) -> None:
    engine = private_engine
    container = run(engine, options, 3000, "usleep 1000")
    until_last_at_least(engine, container, 300)
    engine.kill9()
    before = sum(log_files(engine, container).values())
    live = engine.layout.log(container)
    deadline = time.monotonic() + 30
    while live.stat().st_size < 40_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    engine.start()
    assert before
    bounded(engine, container, 100, 10_000)
    until_last(engine, container, 2999)
    assert shown(engine, container) == list(range(3000))


def until_last_at_least(daemon: Daemon, container: str, line: int) -> None:
    deadline = time.monotonic() + 60
    while not (lines := shown(daemon, container, "--tail", "1")) or lines[0] < line:
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("point", "options"),
    [
        ("log.rotate.renamed", "max-size=4k max-file=100"),
        ("log.rotate.compressed", "max-size=4k max-file=100 compress=true"),
    ],
)
def test_a_death_in_the_middle_loses_and_doubles_no_line(stopped_engine: Engine, point: str, options: str) -> None:
    engine = stopped_engine
    armed = engine.directory / "armed"
    engine.environment["WHARFINGER_CRASH_AT"] = f"@{armed}"
    engine.start()
    engine.load_sample_image()
    container = run(engine, options, 2000, "usleep 1000")
    until_last_at_least(engine, container, 100)
    armed.write_text(point)
    engine.wait_ended(within=20)
    armed.unlink()
    engine.start()
    until_last(engine, container, 1999)
    assert shown(engine, container) == list(range(2000))
    bounded(engine, container, 100, 4_000)


def test_a_restarted_container_goes_on_in_its_files(engine: Engine) -> None:
    container = run(engine, "max-size=4k max-file=100", 200, then="exit 0")
    for _ in range(3):
        engine.docker("wait", container)
        engine.docker("start", container)
    engine.docker("wait", container)
    assert shown(engine, container) == list(range(200)) * 4


def test_a_removed_container_leaves_no_log(engine: Engine) -> None:
    container = run(engine, "max-size=4k max-file=3", 100_000, "usleep 100")
    until_last_at_least(engine, container, 500)
    directory = engine.layout.container(container)
    engine.docker("rm", "-f", container)
    deadline = time.monotonic() + 20
    while directory.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_local_driver_is_read_like_any_other(daemon: Daemon) -> None:
    container = daemon.run("-d", "--log-driver", "local", "busybox", "echo", "hello")
    daemon.docker("wait", container)
    assert daemon.docker("logs", container).out == "hello\n"
    found = daemon.inspect(container)
    assert (found["LogPath"], found["HostConfig"]["LogConfig"]) == ("", {"Type": "local", "Config": {}})


def test_without_a_log_there_is_nothing_to_read(daemon: Daemon) -> None:
    container = daemon.run("-d", "--log-driver", "none", "busybox", "echo", "hello")
    daemon.docker("wait", container)
    refused = daemon.docker("logs", container, check=False)
    assert refused.err == "Error response from daemon: configured logging driver does not support reading\n"
    assert daemon.inspect(container)["LogPath"] == ""


REFUSED = [
    ("json-file", {"max-size": "x"}, "invalid size: 'x'"),
    ("json-file", {"max-size": ""}, "invalid size: ''"),
    ("json-file", {"max-size": "-1"}, "invalid size: '-1'"),
    ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
    ("json-file", {"max-size": "999999999999P"}, "max-size must be a positive number"),
    ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
    ("json-file", {"max-file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
    ("json-file", {"compress": "x"}, 'strconv.ParseBool: parsing "x": invalid syntax'),
    (
        "json-file",
        {"compress": "true", "max-size": "1k"},
        "compress cannot be true when max-file is less than 2 or max-size is not set",
    ),
    (
        "json-file",
        {"compress": "true", "max-file": "2"},
        "compress cannot be true when max-file is less than 2 or max-size is not set",
    ),
    ("json-file", {"foo": "1"}, "unknown log opt 'foo' for json-file log driver"),
    ("json-file", {"mode": "x"}, "logger: logging mode not supported: x"),
    (
        "json-file",
        {"max-buffer-size": "1m"},
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
    ),
    (
        "json-file",
        {"mode": "non-blocking", "max-buffer-size": "x"},
        "error parsing option max-buffer-size: invalid size: 'x'",
    ),
    ("local", {"foo": "1"}, "unknown log opt 'foo' for log driver local"),
    ("local", {"max-size": "x"}, "invalid value for max-size: x: invalid size: 'x'"),
    ("local", {"max-file": "x"}, 'invalid value for max-file: x: strconv.Atoi: parsing "x": invalid syntax'),
    ("local", {"max-file": "-1"}, "max file count cannot be less than 0"),
    ("local", {"max-file": "1"}, "compression cannot be enabled when max file count is 1"),
    ("local", {"compress": "x"}, 'error reading compress log option: strconv.ParseBool: parsing "x": invalid syntax'),
    ("nosuch", {}, 'error looking up logging plugin nosuch: plugin "nosuch" not found'),
]


@pytest.mark.parametrize(("driver", "options", "words"), REFUSED, ids=lambda value: json.dumps(value)[:40])
def test_options_that_cannot_be_are_refused_in_dockerds_words(
    daemon: Daemon, driver: str, options: dict[str, str], words: str
) -> None:
    status, message = attempt(daemon, {"Type": driver, "Config": options})
    assert message.removeprefix("failed to initialize logging driver: ") == words
    # What dockerd finds out only at the start, and calls its own mistake, we refuse when it is asked for.
    assert status == 400 or (daemon.name == "peer" and status == 500)


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("", {"max-size": "1.5k", "max-file": "+2"}),
        ("json-file", {"max-size": "1P"}),
        ("json-file", {"max-size": "10 MiB"}),
        ("json-file", {"max-file": "3"}),
        ("json-file", {"compress": "TRUE", "max-size": "1k", "max-file": "2"}),
        ("json-file", {"mode": "non-blocking", "max-buffer-size": "4m"}),
        ("local", {"max-size": "0"}),
        ("local", {"max-size": "1k", "compress": "false", "max-file": "0"}),
        ("none", {"anything": "goes"}),
    ],
)
def test_options_that_can_be_are_taken(daemon: Daemon, driver: str, options: dict[str, str]) -> None:
    assert attempt(daemon, {"Type": driver, "Config": options}) == (204, "")


def attempt(daemon: Daemon, log: dict[str, Any]) -> tuple[int, str]:
    """Create and start a container with this log configuration: the first refusal."""
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"LogConfig": log, "NetworkMode": "none"}}
    answer = daemon.request("POST", "/containers/create", body)
    if answer.status == 201:
        answer = daemon.request("POST", f"/containers/{answer.json()['Id']}/start")
    return answer.status, answer.json()["message"] if answer.body else ""
