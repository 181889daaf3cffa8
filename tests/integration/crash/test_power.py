"""The power is cut at random under load: what was acknowledged is on the disk, whole."""

from __future__ import annotations

import http.client
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.crash import disk
from tests.machine.inside import damage
from tests.machine.load import Client, derived, found
from tests.machine.machine import Lost
from tests.support.daemon import Answer
from tests.support.engine import Engine

CLIENTS = 5
ROUNDS = 3
SECONDS = (2.0, 5.0)


@dataclass(frozen=True)
class Api:
    """The engine for clients that survive it."""

    engine: Engine

    def request(self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Answer:
        """One request."""
        try:
            return self.engine.request(method, path, body, headers=headers)
        except (OSError, http.client.HTTPException) as error:
            raise Lost(str(error)) from None


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    try:
        try:
            disk.plug_in(engine)
        except AssertionError as error:
            pytest.skip(f"no disk of its own for the engine: {error}")
        engine.start()
        engine.load_sample_image()
        yield engine
    finally:
        engine.close()


def get(engine: Engine, path: str) -> bytes:
    answer = engine.request("GET", path)
    assert answer.status == 200, answer.body
    return answer.body


@pytest.mark.timeout(400)
def test_what_was_acknowledged_is_there_after_a_power_cut(engine: Engine) -> None:
    seed = time.time_ns() % 100000
    print(f"seed {seed}")
    chance = random.Random(seed)
    clients = [Client(f"client{number}", random.Random(seed + number), Api(engine)) for number in range(CLIENTS)]
    for _ in range(ROUNDS):
        stop = threading.Event()
        threads = [threading.Thread(target=client.until_lost, args=(stop,)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(*SECONDS))
        disk.cut_power(engine)
        stop.set()
        for thread in threads:
            thread.join()
        check_database(engine)
        engine.start()
        wrong = [line for client in clients for line in kept(engine, client)]
        wrong += [line for image in images(engine) for line in damage(image, lambda path: get(engine, path))]
        assert wrong == []
    assert all(client.promises.answered for client in clients)


def kept(engine: Engine, client: Client) -> list[str]:
    """The promises that are broken once removals under way are over; the client goes on from what there is."""
    deadline = time.monotonic() + 20
    while (broken := client.promises.broken(things := found(Api(engine)))) and time.monotonic() < deadline:
        time.sleep(0.2)
    client.promises.take(things)
    return broken + client.promises.refusals


def images(engine: Engine) -> list[str]:
    """The ids of all images."""
    return [image["Id"] for image in engine.request("GET", "/images/json").json()]


def check_database(engine: Engine) -> None:
    """SQLite finds the database whole."""
    path = f"/proc/{engine.surroundings.holder}/root{engine.layout.database}"
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_an_image_is_whole_the_moment_it_is_acknowledged(engine: Engine) -> None:
    for number in range(2):
        archive, uid = derived(f"own:{number}", random.Random(number))
        answer = engine.request("POST", "/images/load?quiet=1", archive)
        disk.cut_power(engine)
        assert answer.status == 200, answer.body
        engine.start()
        assert uid in images(engine)
        assert damage(uid, lambda path: get(engine, path)) == []
        assert engine.run("--rm", f"own:{number}", "sha256sum", "-s", "-c", "/sums") == ""


def test_an_exit_code_that_was_told_is_kept(engine: Engine) -> None:
    uid = engine.run("-d", "busybox:latest", "sh", "-c", "sleep 1; exit 3")
    assert engine.docker("wait", uid).out == "3\n"
    disk.cut_power(engine)
    engine.start()
    assert engine.inspect(uid)["State"]["ExitCode"] == 3


def test_a_volume_that_was_filled_is_full(engine: Engine) -> None:
    engine.run("--name=filled", "-v", "filled:/bin", "busybox:latest", "/bin/true")
    disk.cut_power(engine)
    engine.start()
    files = engine.run("--rm", "-v", "filled:/bin", "busybox:latest", "sh", "-c", "cat /bin/busybox | sha256sum")
    assert files == engine.run("--rm", "busybox:latest", "sh", "-c", "cat /bin/busybox | sha256sum")
