"""The ``wharfinger`` command's flags, and how flags, environment and configuration file become Settings."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from apiserver.config import DEFAULT_CONFIG_FILE, ConfigError, Limits, Settings, parse_duration, parse_size


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ConfigError(f"{text!r}: choose from {', '.join(allowed)}")
        return text

    return parse


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"{text!r} is not a number")
    return int(text)


def _port(text: str) -> int:
    port = _number(text)
    if port > 65535:
        raise ConfigError(f"{text!r} is not a port")
    return port


def _mirror(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in ("http", "https") or not rest.partition("/")[0]:
        raise ConfigError(f"{text!r}: give a URL, like https://mirror.example.org")
    return text


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ConfigError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1")


@dataclass(frozen=True)
class Flag:
    """One setting: its long flag (also its name in the file), how its text is read, its default as shown to people."""

    name: str
    parse: Callable[[str], Any]
    help: str
    default: str = ""
    environment: str = ""
    repeatable: bool = False
    short: str = ""
    file_names: tuple[str, ...] = ()
    switch: bool = False

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")


FLAGS: tuple[Flag, ...] = (
    Flag("scheme", _choice("unix", "http", "https"), "listen by this scheme", "unix", repeatable=True),
    Flag("host-address", str, "listen here, as dockerd users write it: unix://PATH, tcp://HOST:PORT, fd://",
         repeatable=True, short="-H", file_names=("hosts",)),
    Flag("cleanup-timeout", parse_duration, "how long a shutdown waits for idle connections", "10s"),
    Flag("graceful-timeout", parse_duration, "how long a shutdown waits for requests in progress", "15s"),
    Flag("max-header-size", parse_size, "the most bytes of a request's line and headers", "1MiB"),
    Flag("socket-path", Path, "the unix socket", "/var/run/docker-engine-api.sock"),
    Flag("socket-group", str, "the group that may use the unix socket", file_names=("group",)),
    Flag("host", str, "the address to listen on for http", "localhost", environment="HOST"),
    Flag("port", _port, "the port to listen on for http, any free one when 0", "0", environment="PORT"),
    Flag("listen-limit", _number, "the most connections at once, no limit when 0", "0"),
    Flag("keep-alive", parse_duration, "prune dead and idle connections after this time", "3m"),
    Flag("read-timeout", parse_duration, "how long a request may take to arrive", "30s"),
    Flag("write-timeout", parse_duration, "how long a client may read nothing of an answer", "60s"),
    Flag("tls-host", str, "the address to listen on for https (default: as --host)", environment="TLS_HOST"),
    Flag("tls-port", _port, "the port to listen on for https, any free one when 0", "0", environment="TLS_PORT"),
    Flag("tls-certificate", Path, "the server's certificate", environment="TLS_CERTIFICATE", file_names=("tlscert",)),
    Flag("tls-key", Path, "the certificate's private key", environment="TLS_PRIVATE_KEY", file_names=("tlskey",)),
    Flag("tls-ca", Path, "clients must show a certificate of this authority", environment="TLS_CA_CERTIFICATE",
         file_names=("tlscacert",)),
    Flag("tls-listen-limit", _number, "as --listen-limit, for https"),
    Flag("tls-keep-alive", parse_duration, "as --keep-alive, for https"),
    Flag("tls-read-timeout", parse_duration, "as --read-timeout, for https"),
    Flag("tls-write-timeout", parse_duration, "as --write-timeout, for https"),
    Flag("allow-remote-http", _truth, "allow plain http on addresses that other machines reach", switch=True),
    Flag("data-root", Path, "what survives a reboot", "/var/lib/wharfinger"),
    Flag("exec-root", Path, "what does not", "/run/wharfinger"),
    Flag("database-url", str, "the database (default: SQLite in the data root)"),
    Flag("pidfile", Path, "write the daemon's process id here"),
    Flag("log-level", _choice("debug", "info", "warning", "error"), "debug, info, warning or error", "info"),
    Flag("log-format", _choice("text", "json"), "text or json", "text"),
    Flag("metrics-address", str, "where GET /metrics answers, nowhere when empty", "127.0.0.1:9323",
         file_names=("metrics-addr",)),
    Flag("config-file", Path, f"settings in JSON (default {DEFAULT_CONFIG_FILE}, if it exists)"),
    Flag("bip", str, "the default bridge's address and network, such as 172.17.0.1/16"),
    Flag("runtime", str, "the OCI runtime", "runc", file_names=("default-runtime",)),
    Flag("registry-mirror", _mirror, "a mirror of Docker Hub", repeatable=True, file_names=("registry-mirrors",)),
    Flag("insecure-registry", str, "a registry that may do without verified TLS", repeatable=True,
         file_names=("insecure-registries",)),
    Flag("label", str, "a label of this engine, KEY=VALUE", repeatable=True, file_names=("labels",)),
    Flag("debug", _truth, "the same as --log-level debug", switch=True, short="-D"),
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def build_parser() -> argparse.ArgumentParser:
    """The command's parser: a verb and its flags."""
    parser = _Parser(prog="wharfinger", description="A container engine that speaks the Docker Engine API.")
    verbs = parser.add_subparsers(dest="verb", metavar="serve|migrate|check|version", required=True)
    for verb, summary in (
        ("serve", "run the engine in the foreground"),
        ("migrate", "bring the database to this version's schema"),
        ("check", "tell whether this machine and these settings would do, and change nothing"),
    ):
        added = verbs.add_parser(verb, help=summary, description=summary, allow_abbrev=False)
        _add_flags(added)
        if verb == "migrate":
            added.add_argument("--to", metavar="REVISION", help="another revision than the newest, or base for none")
    verbs.add_parser("version", help="print the version")
    return parser


def _add_flags(parser: argparse.ArgumentParser) -> None:
    for flag in FLAGS:
        names = [name for name in (flag.short, f"--{flag.name}") if name]
        notes = [f"default {flag.default}"] if flag.default else []
        notes += [f"or ${flag.environment}"] if flag.environment else []
        text = flag.help + (f" ({', '.join(notes)})" if notes else "")
        options: dict[str, Any] = {"dest": flag.key, "default": None, "help": text}
        if flag.switch:
            options |= {"nargs": "?", "const": "true"}
        if flag.repeatable:
            options["action"] = "append"
        parser.add_argument(*names, **options)


def load_settings(
    given: argparse.Namespace | Mapping[str, Any],
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from parsed flags, the environment and the configuration file; the earlier one wins.

    Raises ConfigError with one line that names the flag, variable or key that is wrong.
    """
    flags = vars(given) if isinstance(given, argparse.Namespace) else given
    file = _read_file(flags.get("config_file"))
    values: dict[str, Any] = {}
    for flag in FLAGS:
        text, source = flags.get(flag.key), f"--{flag.name}"
        if text is None and flag.environment and environment.get(flag.environment):
            text, source = environment[flag.environment], f"${flag.environment}"
        if text is None and flag.name in file:
            text, source = file[flag.name], f"{flag.name} in the configuration file"
        if text is None:
            continue
        texts = text if isinstance(text, list) else [text]
        try:
            parsed = [flag.parse(item) for item in texts]
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None
        values[flag.key] = tuple(parsed) if flag.repeatable else parsed[-1]
    return _settings(values)


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the flags of ``wharfinger serve``; raises ConfigError."""
    return load_settings(build_parser().parse_args(["serve", *arguments]), environment)


def _settings(values: dict[str, Any]) -> Settings:
    limits = Limits(
        connections=values.pop("listen_limit", Limits.connections),
        keep_alive=values.pop("keep_alive", Limits.keep_alive),
        read_timeout=values.pop("read_timeout", Limits.read_timeout),
        write_timeout=values.pop("write_timeout", Limits.write_timeout),
    )
    tls_limits = Limits(
        connections=values.pop("tls_listen_limit", limits.connections),
        keep_alive=values.pop("tls_keep_alive", limits.keep_alive),
        read_timeout=values.pop("tls_read_timeout", limits.read_timeout),
        write_timeout=values.pop("tls_write_timeout", limits.write_timeout),
    )
    renamed = {
        "scheme": "schemes",
        "host_address": "hosts",
        "registry_mirror": "registry_mirrors",
        "insecure_registry": "insecure_registries",
        "label": "labels",
    }
    fields = {renamed.get(key, key): value for key, value in values.items()}
    if fields.get("debug"):
        fields["log_level"] = "debug"
    for name in ("data_root", "exec_root"):
        if name in fields:
            fields[name] = Path(os.path.abspath(fields[name]))
    return Settings(limits=limits, tls_limits=tls_limits, **fields)


def _read_file(named: str | None) -> dict[str, Any]:
    path = Path(named) if named else DEFAULT_CONFIG_FILE
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        if named:
            raise ConfigError(f"--config-file: {path} does not exist") from None
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: the file must be one JSON object")
    known = {name: flag for flag in FLAGS for name in (flag.name, *flag.file_names) if flag.name != "config-file"}
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise ConfigError(f"{path}: these directives are no settings: {', '.join(unknown)}")
    return {known[name].name: _texts(value, path, name) for name, value in content.items()}


def _texts(value: Any, path: Path, name: str) -> str | list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ConfigError(f"{path}: {name} must be text, a number, true, false or a list of these")
