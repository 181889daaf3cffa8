"""The README says what the command says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apiserver.config import DEFAULT_CONFIG_FILE
from apiserver.flags import FLAGS, Flag

README = Path(__file__).resolve().parents[3] / "README.md"
_SECTION = README.read_text().partition("\n## Flags\n")[2].partition("\n## ")[0]
ROWS = [line.split("|")[1:-1] for line in _SECTION.splitlines() if line.startswith("| `-")]


def rows_of(flag: str) -> list[list[str]]:
    """The rows of the table that begin with a flag, among others."""
    return [row for row in ROWS if f"`{flag}`" in row[0]]


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_each_flag_has_its_row_with_its_default(flag: Flag) -> None:
    (row,) = rows_of(f"--{flag.name}")
    assert f"`{flag.default}`" in row[1] or not flag.default or row[1].strip(" `").startswith(flag.default)
    assert not flag.short or f"`{flag.short}`" in row[0]


def test_no_flag_is_named_that_there_is_not() -> None:
    known = {f"--{flag.name}" for flag in FLAGS}
    named = {name for row in ROWS for name in re.findall(r"`(--[a-z-]+)`", row[0])}
    assert named == known


def test_the_environment_and_the_file_are_named() -> None:
    assert f"`{DEFAULT_CONFIG_FILE}`" in rows_of("--config-file")[0][1]
    listed = re.search(r"^`([A-Z_ ]+)` in the environment stand for their flags", _SECTION, re.MULTILINE)
    assert listed is not None
    assert set(listed[1].split()) == {flag.environment for flag in FLAGS if flag.environment}
