"""The daemon dies at every point of a pull: what was fetched is used or gone, and the pull can be asked for again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os

import pytest

from tests.integration.crash.test_points import auditor, points
from tests.support.engine import Engine
from tests.support.fake_registry import FakeRegistry
from tests.support.image_content import image, layer
from tests.support.registry import statuses

WAYS = ("image.pull.", "image.layer.", "image.register.", "store.commit.")
TAG = "latest"


def pull(engine: Engine, name: str) -> str:
    """Pull; the last line."""
    answer = engine.request("POST", f"/images/create?fromImage={name}&tag={TAG}")
    return statuses([json.loads(line) for line in answer.body.splitlines()])[-1]


@pytest.mark.parametrize("point", [point for point in points() if point.startswith(WAYS)])
def test_a_death_in_a_pull_loses_and_leaks_nothing(module_engine: Engine, point: str) -> None:
    engine = module_engine
    with contextlib.closing(FakeRegistry(engine.surroundings.socket())) as registry:
        content = image([layer({"first": os.urandom(100_000)}), layer({"second": b"2"})])
        registry.add("app", TAG, content)
        name = f"{registry.address}/app"
        engine.restart(WHARFINGER_CRASH_AT=point)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, IndexError):
            pull(engine, name)
        engine.wait_ended()
        engine.start()
        assert auditor(engine).settled() == []
        assert pull(engine, name).startswith("Status: ")
        assert engine.request("GET", f"/images/{name}:{TAG}/json").json()["Id"] == content.image_id
        assert auditor(engine).settled() == []
        assert os.listdir(engine.layout.downloads) == []
