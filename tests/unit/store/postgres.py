"""A PostgreSQL server of the tests' own, out of Debian's package: a directory, a socket in it, no TCP."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

_HIDDEN = {"fsync": "off", "listen_addresses": "", "log_min_messages": "fatal"}


class PostgreSQL:
    """Started when made; ``close`` stops it and removes everything."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            raise RuntimeError("the tests need PostgreSQL: apt-get install postgresql-15")
        self._programs = found[-1].parent
        self._directory = Path(tempfile.mkdtemp(prefix="pg-"))
        self._numbers = count()
        # initdb and postgres refuse to be root.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self._directory, account.pw_uid, account.pw_gid)
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._run("initdb", "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale", "C.UTF-8")
        settings = " ".join(f"-c {name}='{value}'" for name, value in _HIDDEN.items())
        self._run("pg_ctl", "-w", "-l", str(self._directory / "log"), "-o", f"-k {self._directory} {settings}", "start")

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"test{next(self._numbers)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def close(self) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._directory)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._directory}"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self._directory / "data", *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self._directory,
            timeout=60,
            **self._user,
        )
