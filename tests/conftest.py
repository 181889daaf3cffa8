"""Fixtures for all tests: an engine and a peer shared by all and tidied after each, and engines of a test's own."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.engine import Engine
from tests.support.peer import Peer
from tests.support.tools import search_path

os.environ["PATH"] = search_path()


@pytest.fixture(scope="session")
def shared_engine() -> Iterator[Engine]:
    """One engine for the whole run, with ``busybox:latest``; tests ask for ``engine``."""
    with Engine().ready() as engine:
        yield engine


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    """The shared engine; what a test makes in it is removed when the test ends. Not to be stopped or flooded."""
    if not shared_engine.alive:
        # An earlier test's failure must not become everybody's.
        shared_engine.start()
    with shared_engine.tidied():
        yield shared_engine


@pytest.fixture
def private_engine() -> Iterator[Engine]:
    """An engine of the test's own, running and with ``busybox:latest``: to kill, restart and break."""
    with Engine().ready() as engine:
        yield engine


@pytest.fixture(scope="module")
def module_engine() -> Iterator[Engine]:
    """Like ``private_engine``, for all tests of a file."""
    with Engine().ready() as engine:
        yield engine


@pytest.fixture
def stopped_engine() -> Iterator[Engine]:
    """An engine that the test starts itself, for flags, refusals and crashes at the start."""
    engine = Engine()
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def shared_peer() -> Iterator[Peer]:
    """One dockerd for the whole run; tests ask for ``peer``."""
    with Peer().ready() as peer:
        yield peer


@pytest.fixture
def peer(shared_peer: Peer) -> Iterator[Peer]:
    """The real dockerd, tidied like ``engine``."""
    with shared_peer.tidied():
        yield shared_peer


@pytest.fixture(params=["engine", "peer"])
def daemon(request: pytest.FixtureRequest) -> Daemon:
    """Our engine, then dockerd: what is expected holds for both."""
    found: Daemon = request.getfixturevalue(request.param)
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under a failed test, what the daemons logged while it ran."""
    report = yield
    for daemon in Daemon.running:
        log = daemon.log()
        if report.failed and log[daemon.reported :]:
            report.sections.append((f"log of {daemon.name} in {daemon.directory}", log[daemon.reported :][-8000:]))
        if call.when == "teardown":
            daemon.reported = len(log)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The tables that tests wrote with ``record_property("table: …", row)``, whichever process they ran in."""
    tables: dict[str, list[str]] = {}
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name.startswith("table: "):
                tables.setdefault(name.removeprefix("table: "), []).append(str(value))
    for name, rows in tables.items():
        terminalreporter.section(name)
        for row in rows:
            terminalreporter.write_line(row)
