"""In which boot the engine last took stock."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers.containers import boots, process
from controllers.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "data", tmp_path / "run")
    for directory in (layout.bundle("c"), layout.runtime_state / "c", layout.names / "n"):
        directory.mkdir(parents=True)
    layout.exits.mkdir()
    (layout.exits / "c").write_text("0")
    return layout


def boot(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(process, "boot_id", lambda: f"boot-{number}")


def test_stock_is_taken_once_in_each_boot(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        boot(monkeypatch, number)
        assert boots.is_new(layout)
        boots.note(layout)
        assert not boots.is_new(layout)


def test_what_an_earlier_boot_left_is_removed(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    boot(monkeypatch, 1)
    boots.note(layout)
    boots.forget_earlier(layout)
    assert layout.bundle("c").exists()
    assert (layout.exits / "c").exists()
    boot(monkeypatch, 2)
    boots.forget_earlier(layout)
    assert [path.name for path in layout.exec_root.iterdir()] == ["boot"]
    assert boots.is_new(layout)


def test_what_nothing_is_noted_of_is_left_alone(layout: Layout) -> None:
    boots.forget_earlier(layout)
    assert layout.bundle("c").exists()
    assert layout.runtime_state.exists()


def test_what_was_noted_in_another_boot_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    boot(monkeypatch, 1)
    assert process.of_this_boot("boot-1")
    assert process.of_this_boot("")
    assert not process.of_this_boot("boot-0")
