"""The metrics: their names, their lint, and that they follow what happens."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from controllers import metrics
from controllers.events.observe import observe
from controllers.repairs import repaired
from controllers.workqueue import WorkQueue
from store.errors import EngineError
from store.objects import Event, Meta, Volume, VolumeSpec
from store.store import Store, Transaction
from tests.support.tools import program

NAMES = {
    "workqueue_depth",
    "workqueue_adds_total",
    "workqueue_queue_duration_seconds_bucket",
    "workqueue_work_duration_seconds_bucket",
    "workqueue_retries_total",
    "workqueue_unfinished_work_seconds",
    "workqueue_longest_running_processor_seconds",
    "engine_daemon_container_states_containers",
    "engine_daemon_events_total",
    "engine_daemon_health_checks_total",
    "engine_daemon_health_checks_failed_total",
    "wharfinger_drift_repairs_total",
    "wharfinger_store_commits_total",
    "wharfinger_store_commit_changes_bucket",
    "wharfinger_store_commit_duration_seconds_bucket",
    "wharfinger_store_feed_lag_seconds_bucket",
    "process_resident_memory_bytes",
}


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def exposition(tmp_path: Path) -> bytes:
    """What ``/metrics`` shows after something has happened."""
    store = await Store.open(f"sqlite:///{tmp_path}/store.db")
    observe(store)
    queue = WorkQueue("shown")
    queue.add("a")
    metrics.CONTAINER_ACTIONS.labels("start").observe(0.03)

    def change(transaction: Transaction) -> None:
        transaction.insert(Volume(meta=Meta(uid="v", name="v"), spec=VolumeSpec()))
        transaction.emit(repaired("directory missing", "volume", "v"))

    await store.commit(change)
    shown = generate_latest(metrics.REGISTRY)
    await store.close()
    return shown


def test_dashboards_find_the_names_that_they_know(exposition: bytes) -> None:
    found = {sample.name for family in text_string_to_metric_families(exposition.decode()) for sample in family.samples}
    assert found >= NAMES
    assert not any(name.endswith("_created") for name in found)


def test_promtool_finds_nothing_to_say(exposition: bytes) -> None:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=exposition,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert (done.stdout, done.returncode) == (b"", 0)


async def test_events_and_commits_are_counted(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/store.db")
    observe(store)
    events, commits = value("engine_daemon_events_total"), value("wharfinger_store_commits_total", result="success")
    await store.commit(_three_events)
    with pytest.raises(EngineError):
        await store.commit(_refused)
    assert value("engine_daemon_events_total") == events + 3
    assert value("wharfinger_store_commits_total", result="success") == commits + 1
    await store.close()


def _three_events(transaction: Transaction) -> None:
    for _ in range(3):
        transaction.emit(Event(type="x", action="y", actor="z"))


def _refused(_: Transaction) -> None:
    raise EngineError("no")


def test_a_repair_is_counted_and_gives_its_event() -> None:
    before = value("wharfinger_drift_repairs_total", kind="network", reason="bridge missing")
    event = repaired("bridge missing", "network", "n1", bridge="wh0")
    assert value("wharfinger_drift_repairs_total", kind="network", reason="bridge missing") == before + 1
    assert (event.type, event.action, event.actor) == ("network", "repair: bridge missing", "n1")
    assert event.attributes == {"reason": "bridge missing", "bridge": "wh0"}
