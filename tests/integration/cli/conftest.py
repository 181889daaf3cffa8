"""Each test at a terminal runs twice: on our engine, and on dockerd to show that it asks for what Docker does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.terminal import Terminal
from tests.support.tools import program


@pytest.fixture
def at_terminal(daemon: Daemon) -> Iterator[Callable[..., Terminal]]:
    """Types a docker command at a terminal of its own; all are hung up when the test ends."""
    opened: list[Terminal] = []

    def type_docker(*arguments: str, rows: int = 24, columns: int = 80) -> Terminal:
        command = [program("docker"), *arguments]
        opened.append(Terminal(command, daemon.docker_environment(), rows=rows, columns=columns))
        return opened[-1]

    yield type_docker
    for terminal in opened:
        terminal.close()
