"""systemd's readiness and sockets, and the end of the machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from apiserver.systemd import activated_sockets, machine_stops, notify


def test_readiness_is_told_to_who_asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(place / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(place / "notify"))
        notify("READY=1", "STATUS=here")
        assert systemd.recv(100) == b"READY=1\nSTATUS=here"


def test_nobody_need_listen(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(place / "nobody"))
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


def test_sockets_meant_for_another_process_are_not_taken() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "OTHER": "y"}
    assert activated_sockets(environment) == []
    assert environment == {"OTHER": "y"}


def test_no_sockets_are_no_sockets() -> None:
    assert activated_sockets({}) == []
    assert activated_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}) == []


@pytest.mark.parametrize(("answer", "stops"), [("stopping", True), ("running", False), ("offline", False)])
async def test_systemd_says_whether_the_machine_stops(
    place: Path, monkeypatch: pytest.MonkeyPatch, answer: str, stops: bool
) -> None:
    systemctl = place / "systemctl"
    systemctl.write_text(f'#!/bin/sh\n[ "$1" = is-system-running ] && echo {answer}\nexit 1\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    assert await machine_stops() is stops


async def test_without_systemd_the_machine_does_not_stop(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    assert not await machine_stops()
