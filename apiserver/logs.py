"""The daemon's own log on standard error: text for people, JSON for machines."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import msgspec

from apiserver.timestamps import SECOND, rfc3339

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def configure_logging(level: str, form: Literal["text", "json"]) -> None:
    """Sends all records from ``level`` up to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """From which level on records are kept."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    for noisy in ("aiohttp", "asyncio", "alembic", "sqlalchemy"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))


def _moment(record: logging.LogRecord) -> str:
    return rfc3339(int(record.created * 1000) * (SECOND // 1000))


class TextFormatter(logging.Formatter):
    """``time LEVEL logger: message``."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{_moment(record)} {record.levelname} {record.name}: {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with what the record carries besides."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()
