"""What a store finds when the process that wrote was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from store.objects import Volume
from store.store import Store

PROJECT = Path(__file__).resolve().parents[3]
PROGRAM = """
import asyncio, os, sys
from store.store import Store
from tests.unit.store.samples import volume

async def main():
    store = await Store.open(sys.argv[1])
    number = len(store.volumes)
    while True:
        await store.commit(lambda transaction: transaction.insert(volume(f"v{number}")), durable=number % 2 == 0)
        os.write(1, f"{number}\\n".encode())
        number += 1

asyncio.run(main())
"""


def writing(url: str, crash_at: str = "") -> subprocess.Popen[bytes]:
    environment = os.environ | {"WHARFINGER_CRASH_AT": crash_at}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, url], cwd=PROJECT, env=environment, stdout=subprocess.PIPE)


async def kept(url: str) -> list[str]:
    store = await Store.open(url)
    names = [volume.name for volume in store.view(Volume)]
    await store.close()
    return names


async def test_a_change_is_not_there_when_the_process_died_before_its_commit(url: str) -> None:
    process = writing(url, "store.commit.before")
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert output == b""
    assert await kept(url) == []


async def test_a_change_is_there_when_the_process_died_after_its_commit(url: str) -> None:
    process = writing(url, "store.commit.after")
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert output == b""
    assert await kept(url) == ["v0"]


@pytest.mark.parametrize("acknowledged", [1, 50, 200])
async def test_everything_acknowledged_before_a_kill_is_there_and_in_order(url: str, acknowledged: int) -> None:
    process = writing(url)
    assert process.stdout is not None
    for _ in range(acknowledged):
        process.stdout.readline()
    process.kill()
    lines = acknowledged + len(process.stdout.read().splitlines())
    process.wait()
    names = await kept(url)
    assert names == [f"v{number}" for number in range(len(names))]
    assert lines <= len(names) <= lines + 1
