"""What stops a daemon is found before anything is changed."""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from apiserver import preflight
from apiserver.config import ConfigError, Settings
from apiserver.dataroot import DataRootLock, PidFile


@pytest.fixture
def settings(place: Path) -> Settings:
    return Settings(data_root=place / "data", exec_root=place / "run", socket_path=place / "s", metrics_address="")


def only(settings: Settings, *words: str) -> None:
    """One line that has these words, and nothing has been made."""
    before = sorted(settings.data_root.parent.rglob("*"))
    found = [problem for problem in preflight.problems(settings) if all(word in problem for word in words)]
    assert len(found) == 1, list(preflight.problems(settings))
    assert "\n" not in found[0]
    assert sorted(settings.data_root.parent.rglob("*")) == before


def test_who_is_not_root_is_told_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    only(settings, "must run as root", "sudo")


def test_a_missing_program_is_named_with_its_package(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    only(replace(settings, runtime="no-such-runtime"), "no-such-runtime", "apt-get install", "--runtime")
    monkeypatch.setattr(preflight, "find_program", lambda name: None if name == "conmon" else "/bin/true")
    only(settings, "conmon", "apt-get install conmon")


def test_a_kernel_without_overlayfs_is_told_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_kernel_has", lambda module, filesystem=False: module != "overlay")
    only(settings, "no overlayfs")


def test_a_data_root_on_overlayfs_is_told_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_filesystem_of", lambda path: "overlay")
    only(settings, "--data-root", "itself on overlayfs")


def test_a_kernel_without_nftables_is_told_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_kernel_has", lambda module, filesystem=False: module != "nf_tables")
    only(settings, "nftables")


def test_a_socket_in_use_is_told_so_and_left_alone(settings: Settings) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(settings.socket_path))
        other.listen()
        only(settings, str(settings.socket_path), "in use", "--socket-path")


def test_a_socket_that_nobody_listens_on_is_no_problem(settings: Settings) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(settings.socket_path))
    assert not [problem for problem in preflight.problems(settings) if "in use" in problem]


def test_a_port_in_use_is_told_so(settings: Settings, free_port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        only(replace(settings, schemes=("http",), host="127.0.0.1", port=free_port), f":{free_port} is in use")
        only(replace(settings, metrics_address=f"127.0.0.1:{free_port}"), "--metrics-address", "in use")


def test_another_daemon_on_the_data_root_is_told_so(settings: Settings) -> None:
    settings.data_root.mkdir()
    with DataRootLock(settings.data_root):
        only(settings, "another daemon runs on --data-root")
        with pytest.raises(ConfigError, match="another daemon runs"), DataRootLock(settings.data_root):
            pass
    with DataRootLock(settings.data_root):
        pass


def test_the_lock_is_not_passed_on_to_children(settings: Settings) -> None:
    with DataRootLock(settings.data_root) as lock:
        assert not os.get_inheritable(lock._descriptor)
        assert fcntl.fcntl(lock._descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_a_listener_that_is_not_safe_is_told_so(settings: Settings) -> None:
    only(replace(settings, schemes=("http",), host="0.0.0.0"), "--allow-remote-http")


@pytest.mark.parametrize("bip", ["junk", "10.44.0.1/33", "10.44.0.0/16"])
def test_an_address_that_no_bridge_can_have_is_told_so(settings: Settings, bip: str) -> None:
    only(replace(settings, bip=bip), f"--bip {bip}")


def test_a_network_that_another_engine_has_is_told_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = IPv4Network("172.17.0.0/16")
    monkeypatch.setattr(
        preflight, "_connected", lambda: iter([("eth0", IPv4Network("10.0.0.0/8")), ("docker0", taken)])
    )
    only(replace(settings, bip="172.17.0.1/16"), "--bip 172.17.0.1/16", "docker0")
    # A part of a larger network is the administrator's to give, and the bridge of our own last run is no other's.
    assert not list(preflight._bridge(replace(settings, bip="10.3.0.1/16")))
    own = f"{settings.layout.prefix}b0"
    monkeypatch.setattr(preflight, "_connected", lambda: iter([(own, taken)]))
    assert not list(preflight._bridge(replace(settings, bip="172.17.0.1/16")))


def test_a_pidfile_goes_unless_another_took_it_over(place: Path) -> None:
    file = place / "deep" / "pid"
    with PidFile(file):
        assert file.read_text() == f"{os.getpid()}\n"
    assert not file.exists()
    with PidFile(file):
        file.write_text("1\n")
    assert file.exists()
