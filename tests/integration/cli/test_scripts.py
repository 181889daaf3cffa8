"""The scripts of a newcomer's first five minutes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.engine import Engine
from tests.support.tools import PROJECT, environment


class ScriptedEngine(Engine):
    """The daemon as ``./deploy/run`` starts it."""

    def command(self) -> list[str]:
        """The script in place of the installed command."""
        return [str(PROJECT / "deploy" / "run"), *super().command()[2:]]


@pytest.fixture
def scripted_engine() -> Iterator[ScriptedEngine]:
    """An engine started by the script."""
    engine = ScriptedEngine()
    try:
        engine.start()
        yield engine
    finally:
        engine.close()


def wait_until(true: Callable[[], bool], within: float = 20) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def script(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROJECT / "deploy" / name, *arguments],
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_run_script_says_what_to_type_and_typing_it_works(scripted_engine: ScriptedEngine) -> None:
    wait_until(lambda: "Ctrl-C stops the daemon" in scripted_engine.log())
    log = scripted_engine.log()
    assert f"Wharfinger is ready on {scripted_engine.address}. In another shell, try:" in log
    assert f"DOCKER_HOST={scripted_engine.address} {PROJECT}/deploy/sample-image\n" in log

    loaded = script("sample-image", DOCKER_HOST=scripted_engine.address)
    assert (loaded.returncode, loaded.stdout) == (0, "Loaded image: busybox:latest\n"), loaded.stderr
    ran = script("docker", "run", "--rm", "busybox", "echo", "hello", DOCKER_HOST=scripted_engine.address)
    assert (ran.returncode, ran.stdout) == (0, "hello\n"), ran.stderr


def test_the_docker_script_asks_at_the_usual_socket_and_passes_the_exit_code_on() -> None:
    done = script("docker", "version", DOCKER_HOST="unix:///nonexistent.sock")
    assert done.returncode == 1
    assert "/nonexistent.sock" in done.stderr


def test_the_sample_image_is_the_same_every_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    one, two = (tmp_path_factory.mktemp("image") / "busybox.tar" for _ in range(2))
    for path in (one, two):
        assert script("sample-image", "--output", str(path)).returncode == 0
    assert one.read_bytes() == two.read_bytes()


def test_a_word_that_means_nothing_gets_the_usage() -> None:
    done = script("sample-image", "--nonsense")
    assert done.returncode == 2
    assert "./deploy/sample-image --output FILE" in done.stdout
