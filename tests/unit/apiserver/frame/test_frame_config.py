"""Flags, environment, configuration file; where to listen, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from apiserver.config import ConfigError, Endpoint, Settings, parse_duration, parse_size, split_address
from apiserver.flags import FLAGS, parse_settings


def settings(*flags: str, **environment: str) -> Settings:
    return parse_settings(flags, environment)


def test_the_defaults_are_those_of_the_documentation() -> None:
    plain = settings()
    assert plain == Settings()
    assert plain.endpoints() == (Endpoint("unix", path=Path("/var/run/docker-engine-api.sock")),)
    assert plain.limits.keep_alive == 180
    assert (plain.cleanup_timeout, plain.graceful_timeout, plain.max_header_size) == (10, 15, 1 << 20)
    assert plain.database == "sqlite:////var/lib/wharfinger/wharfinger.db"


def test_every_flag_is_a_setting() -> None:
    assert settings("--listen-limit", "3", "--tls-read-timeout", "5s").tls_limits.connections == 3
    assert settings("--listen-limit", "3", "--tls-listen-limit", "4").tls_limits.connections == 4
    assert settings("--write-timeout", "1m30s").limits.write_timeout == 90
    assert settings("--max-header-size", "2KiB").max_header_size == 2048
    mirrors = settings("--registry-mirror", "http://a", "--registry-mirror=https://b").registry_mirrors
    assert mirrors == ("http://a", "https://b")
    assert settings("-D").log_level == "debug"
    for flag in FLAGS:
        assert flag.help


def test_a_scheme_may_be_given_several_times() -> None:
    given = settings("--scheme", "unix", "--scheme=http", "--port=8080", "--socket-path=/s")
    assert given.endpoints() == (Endpoint("unix", path=Path("/s")), Endpoint("http", host="localhost", port=8080))


def test_a_variable_counts_where_the_flag_is_missing() -> None:
    assert settings(HOST="127.0.0.5", PORT="81").host == "127.0.0.5"
    assert settings("--port=82", PORT="81").port == 82
    assert settings(TLS_CA_CERTIFICATE="/ca").tls_ca == Path("/ca")
    assert settings(HOST="").host == "localhost"


def test_the_file_counts_where_flag_and_variable_are_missing(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(
        '{"port": 80, "hosts": ["unix:///a"], "registry-mirrors": ["http://m"], "debug": true, "data-root": "/d"}'
    )
    read = settings("--config-file", str(file), PORT="81")
    assert (read.port, read.hosts, read.registry_mirrors) == (81, ("unix:///a",), ("http://m",))
    assert (read.log_level, read.data_root) == ("debug", Path("/d"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Expecting"),
        ("[]", "one JSON object"),
        ('{"bogus": 1, "port": 2}', "no settings: bogus"),
        ('{"port": {}}', "port must be"),
        ('{"port": "x"}', "port in the configuration file: 'x' is not a number"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_a_line(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(content)
    with pytest.raises(ConfigError) as refused:
        settings("--config-file", str(file))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        settings("--config-file", str(tmp_path / "no"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--bogus",), "bogus"),
        (("--port", "x"), "--port: 'x' is not a number"),
        (("--port", "65536"), "not a port"),
        (("--scheme", "ftp"), "choose from unix, http, https"),
        (("--keep-alive", "soon"), "not a duration"),
        (("--read-timeout=-1s",), "cannot be negative"),
        (("--max-header-size", "big"), "not a size"),
        (("--log-level", "loud"), "choose from"),
        (("--allow-remote-http=maybe",), "neither true nor false"),
    ],
)
def test_a_flag_that_is_wrong_is_named(flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings(*flags)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("unix:///a/b", Endpoint("unix", path=Path("/a/b"))),
        ("tcp://127.0.0.1:80", Endpoint("http", host="127.0.0.1", port=80)),
        ("tcp://127.0.0.1", Endpoint("http", host="127.0.0.1", port=2375)),
        ("tcp://[::1]:80", Endpoint("http", host="::1", port=80)),
        ("tcp://:80", Endpoint("http", host="localhost", port=80)),
        ("localhost:80", Endpoint("http", host="localhost", port=80)),
        ("fd://", Endpoint("fd")),
    ],
)
def test_hosts_are_read_as_dockerd_users_write_them(host: str, endpoint: Endpoint) -> None:
    assert settings("-H", host).endpoints() == (endpoint,)


def test_a_tcp_host_with_a_certificate_is_https() -> None:
    given = settings("-H", "tcp://0.0.0.0", "--tls-certificate", "/c", "--tls-key", "/k")
    assert given.endpoints() == (Endpoint("https", host="0.0.0.0", port=2376),)


@pytest.mark.parametrize("host", ["ftp://x", "tcp://a:b", "tcp://1.2.3.4:99999"])
def test_a_host_that_cannot_be_is_refused(host: str) -> None:
    with pytest.raises(ConfigError):
        settings("-H", host).endpoints()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "engine.example"])
def test_plain_http_beyond_this_machine_is_refused_unless_asked_for(host: str) -> None:
    flags = ("--scheme=http", f"--host={host}")
    with pytest.raises(ConfigError, match="gives everybody who reaches the port root"):
        settings(*flags).endpoints()
    assert settings(*flags, "--allow-remote-http").endpoints()[0].host == host


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_plain_http_on_loopback_is_allowed(host: str) -> None:
    assert settings("--scheme=http", f"--host={host}").endpoints()


def test_https_needs_a_certificate_and_a_key() -> None:
    with pytest.raises(ConfigError, match="--tls-certificate and --tls-key are needed"):
        settings("--scheme=https").endpoints()


def test_https_listens_where_http_would_unless_told_otherwise() -> None:
    flags = ("--scheme=https", "--host=127.0.0.9", "--tls-certificate=/c", "--tls-key=/k")
    assert settings(*flags).endpoints()[0].host == "127.0.0.9"
    assert settings(*flags, "--tls-host=127.0.0.8").endpoints()[0].host == "127.0.0.8"


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("3m", 180), ("1h30m", 5400), ("0", 0), ("2.5", 2.5)])
def test_durations_are_gos_or_bare_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("1MiB", 1 << 20), ("1MB", 10**6), ("512", 512), ("1.5KiB", 1536)])
def test_sizes_have_decimal_or_binary_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["a:b", "a:1:2", "[::1", "a/b", "x:70000"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        split_address(text)
