"""What our engine and the real dockerd have in common when a test drives them."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import aiohttp
import docker

from tests.support.surroundings import Surroundings
from tests.support.tools import environment, program, sample_archive

READY_WITHIN = 60.0


@dataclass
class Output:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def both(self) -> str:
        """Standard output, then standard error."""
        return self.out + self.err


@dataclass
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any, headers: Mapping[str, str] | None
) -> Answer:
    """One request over a connection that stays open. A ``body`` that is not bytes is sent as JSON."""
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    connection.request(method, path, body, sent)
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())


@dataclass
class _Inventory:
    containers: set[str] = field(default_factory=set)
    networks: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)


class Daemon(ABC):
    """A daemon in :class:`Surroundings` of its own, started, killed and asked by a test."""

    running: ClassVar[list[Daemon]] = []
    """All daemons that now have surroundings, for the report of a failed test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.surroundings = Surroundings(name)
        self.directory: Path = self.surroundings.directory
        self.socket_path = self.directory / "docker.sock"
        self.data_root = self.directory / "data"
        self.exec_root = self.directory / "run"
        self.log_path = self.directory / "log"
        self.log_path.touch()
        self.reported = 0
        self.environment: dict[str, str] = {}
        self.flags: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None
        Daemon.running.append(self)

    @abstractmethod
    def command(self) -> list[str]:
        """The command that starts it, without ``flags``."""

    # Life

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the daemon's process runs."""
        return self._process is not None and self._process.poll() is None

    def launch(self, *flags: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start the process and do not wait; ``flags`` and environment ``variables`` come on top of its own."""
        assert not self.alive, "already started"
        self._process = self.surroundings.spawn(
            *self.command(),
            *self.flags,
            *flags,
            log=self.log_path,
            environment=environment(**self.environment, **variables),
        )
        return self._process

    def start(self, *flags: str, **variables: str) -> None:
        """:meth:`launch`, then wait until it is ready."""
        self.launch(*flags, **variables)
        self.wait_ready()

    def wait_ready(self, within: float = READY_WITHIN) -> None:
        """Wait until the socket answers; a daemon that ended instead fails with its log."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if not self.alive:
                assert self._process is not None
                raise AssertionError(f"{self.name} ended with {self._process.returncode}:\n{self.log()[-4000:]}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/_ping", timeout=5).status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"{self.name} was not ready in {within} s:\n{self.log()[-4000:]}")

    def wait_ended(self, within: float = 30) -> int:
        """Wait until the process has ended by itself; its exit code (negative: the signal)."""
        assert self._process is not None
        return self._process.wait(within)

    def stop(self) -> int:
        """SIGTERM, and wait; containers stay. The exit code."""
        return self.signal(signal.SIGTERM)

    def kill9(self) -> None:
        """SIGKILL to the daemon's own process, as a crash would; containers stay."""
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> int:
        """Send a signal that ends it, wait until it has ended, and return the exit code."""
        assert self._process is not None, "not started"
        if self.alive:
            self._process.send_signal(number)
        return self._process.wait(30)

    def restart(self, *flags: str, **variables: str) -> None:
        """:meth:`stop` and :meth:`start`."""
        self.stop()
        self.start(*flags, **variables)

    @contextlib.contextmanager
    def ready(self) -> Iterator[Self]:
        """:meth:`start` with ``busybox:latest``, and :meth:`close` at the block's end."""
        try:
            self.start()
            self.load_sample_image()
            yield self
        finally:
            self.close()

    def close(self) -> None:
        """End it and everything it started, and remove its files."""
        Daemon.running.remove(self)
        try:
            if self.alive:
                self._empty()
        finally:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self.surroundings.close(self.strays)

    def strays(self) -> Iterable[int]:
        """Processes of its containers that have no parent among its own any more."""
        return ()

    def _empty(self) -> None:
        """Have the daemon itself remove its containers while it still can, which is gentler than killing all."""
        with contextlib.suppress(OSError, AssertionError, http.client.HTTPException, ValueError):
            for container in self.request("GET", "/containers/json?all=1", timeout=20).json():
                self.request("DELETE", f"/containers/{container['Id']}?force=1&v=1", timeout=20)
            self.stop()

    # Asking

    @property
    def address(self) -> str:
        """The address as DOCKER_HOST has it."""
        return f"unix://{self.socket_path}"

    def docker_environment(self, **more: str) -> dict[str, str]:
        """The environment for a docker command that talks to this daemon, with a home of its own."""
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        return environment(**{"DOCKER_HOST": self.address, "HOME": str(home), "TERM": "xterm", **more})

    def docker(
        self,
        *arguments: str,
        stdin: str | bytes | None = None,
        check: bool = True,
        timeout: float = 60,
        cwd: Path | None = None,
    ) -> Output:
        """Run the docker command line. Failing (unless ``check`` is off) shows all that it said."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [program("docker"), *arguments],
            env=self.docker_environment(),
            capture_output=True,
            timeout=timeout,
            cwd=cwd,
            input=data or b"",
        )
        output = Output(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if check and output.code != 0:
            raise AssertionError(f"docker {' '.join(arguments)}: exit code {output.code}: {output.both}")
        return output

    def run(self, *arguments: str, check: bool = True, timeout: float = 60) -> str:
        """``docker run …``; what it said on standard output, without the last newline."""
        return self.docker("run", *arguments, check=check, timeout=timeout).out.removesuffix("\n")

    def client(self, **options: Any) -> Any:
        """A client of the Docker SDK for Python; close it."""
        return docker.DockerClient(base_url=self.address, **{"version": "1.41", "timeout": 60, **options})

    def session(self, **options: Any) -> aiohttp.ClientSession:
        """A session for ``session.get("/containers/json")``; close it (``async with``)."""
        options.setdefault("connector", aiohttp.UnixConnector(path=str(self.socket_path)))
        options.setdefault("timeout", aiohttp.ClientTimeout(total=60))
        return aiohttp.ClientSession(base_url="http://docker", **options)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Answer:
        """One request. A ``body`` that is not bytes is sent as JSON."""
        with contextlib.closing(self.connection(timeout)) as connection:
            return exchange(connection, method, path, body, headers)

    def connection(self, timeout: float = 60) -> http.client.HTTPConnection:
        """A connection of one's own, for several requests."""
        return _Connection(self.socket_path, timeout)

    def log(self) -> str:
        """All that the daemon has written to its standard output and error."""
        return self.log_path.read_text(errors="replace")

    # Order

    def load_sample_image(self) -> None:
        """Have ``busybox:latest``."""
        self.docker("load", "--input", str(sample_archive()))

    def inspect(self, container: str) -> Any:
        """``GET /containers/{id}/json``."""
        answer = self.request("GET", f"/containers/{container}/json")
        assert answer.status == 200, answer.body
        return answer.json()

    @contextlib.contextmanager
    def tidied(self) -> Iterator[None]:
        """Whatever was made inside of the block is removed at its end, by the ids that were not there before."""
        before = self._inventory()
        try:
            yield
        finally:
            if self.alive:
                self._remove_since(before)

    def _inventory(self) -> _Inventory:
        return _Inventory(
            {item["Id"] for item in self.request("GET", "/containers/json?all=1").json()},
            {item["Id"] for item in self.request("GET", "/networks").json()},
            {item["Name"] for item in self.request("GET", "/volumes").json()["Volumes"] or ()},
            {name for item in self.request("GET", "/images/json").json() for name in item["RepoTags"] or [item["Id"]]},
        )

    def _remove_since(self, before: _Inventory) -> None:
        now = self._inventory()
        for container in now.containers - before.containers:
            self.request("DELETE", f"/containers/{container}?force=1&v=1")
        for network in now.networks - before.networks:
            self.request("DELETE", f"/networks/{network}")
        for volume in self._inventory().volumes - before.volumes:
            self.request("DELETE", f"/volumes/{volume}?force=1")
        for image in now.images - before.images:
            self.request("DELETE", f"/images/{image}?force=1")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
