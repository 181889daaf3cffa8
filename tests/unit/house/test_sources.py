"""Habits that the eye misses and a program can count."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
ROOMS = ("apiserver", "controllers", "store", "migrations", "tests")
LONGEST = 500


def python_files() -> list[Path]:
    return [path for room in ROOMS for path in sorted((PROJECT / room).rglob("*.py"))]


def test_no_file_is_longer_than_one_thing_needs() -> None:
    long = {
        str(path.relative_to(PROJECT)): count
        for path in python_files()
        if (count := len(path.read_text().splitlines())) > LONGEST
    }
    assert not long


def test_every_crash_point_has_a_name_of_its_own() -> None:
    names = Counter(
        name
        for path in python_files()
        if "tests" not in path.relative_to(PROJECT).parts
        for name in re.findall(r'crashpoint\(\s*"([^"]*)"', path.read_text())
    )
    assert {name for name, count in names.items() if count > 1} == set()
    assert [name for name in names if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name)] == []


def test_every_script_is_executable_and_parses() -> None:
    for name in ("run", "test", "docker", "sample-image", "install-service", "../.ci/run"):
        script = PROJECT / "deploy" / name
        assert script.stat().st_mode & 0o111, script
        subprocess.run(["bash", "-n", script], check=True)


def test_systemd_finds_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    # It also checks that the program of ExecStart exists, which it does only once installed.
    for unit in ("wharfinger.service", "wharfinger.socket"):
        text = (PROJECT / "deploy" / unit).read_text()
        (tmp_path / unit).write_text(text.replace("/opt/wharfinger/.venv/bin/wharfinger", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "wharfinger.service", tmp_path / "wharfinger.socket"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr + done.stdout) == (0, "")
