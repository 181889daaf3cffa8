"""Containers run by the drivers alone: no store, no loop, a root directory of busybox."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from apiserver.admission.hostconfig import HostFacts, admit
from controllers.containers import cgroups, specs
from controllers.containers.exits import Exit, ExitWatcher
from controllers.containers.runtime import Runtime, Started
from controllers.layout import Layout
from store.objects import Container, ContainerConfig, ContainerSpec, HostConfig, Meta

FACTS = HostFacts.read(frozenset({"runc"}), "runc")


class Stage:
    """A runtime on a data root of its own, and short ways to make containers on it."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory / "data", directory / "run")
        self.runtime = Runtime(self.layout)
        self.ended: dict[str, asyncio.Event] = {}
        self.exits = ExitWatcher(self.layout, lambda uid: self.ended.setdefault(uid, asyncio.Event()).set())
        self.containers: list[str] = []

    def root(self, container: Container) -> Path:
        root = self.layout.merged(container.uid)
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "sbin"):
            (root / name).mkdir(parents=True, exist_ok=True)
        if not (root / "bin/busybox").exists():
            shutil.copy2("/bin/busybox", root / "bin/busybox")
            listed = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout
            for applet in listed.split():
                if applet != "busybox":
                    (root / "bin" / applet).symlink_to("busybox")
            (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
            (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\nwheel:x:10:user\n")
        return root

    def container(self, *command: str, host: dict[str, Any] | None = None, **config: Any) -> Container:
        uid = secrets.token_hex(32)
        admitted, _ = admit(HostConfig(**{"network_mode": "none", **(host or {})}), FACTS, (1, 41))
        self.containers.append(uid)
        return Container(
            meta=Meta(uid=uid, name=uid[:8]),
            spec=ContainerSpec(
                config=ContainerConfig(hostname=uid[:12], **config),
                host=admitted,
                image_id="sha256:0",
                path=command[0],
                args=command[1:],
            ),
        )

    async def create(self, container: Container) -> Started:
        root = await asyncio.to_thread(self.root, container)
        return await self.runtime.create(container, specs.build(container, self.layout, root=root).spec)

    async def start(self, container: Container) -> Started:
        started = await self.create(container)
        await self.runtime.start(container.uid)
        return started

    async def wait(self, container: Container) -> Exit:
        async with asyncio.timeout(20):
            await self.ended.setdefault(container.uid, asyncio.Event()).wait()
        found = self.exits.read(container.uid)
        assert found is not None
        return found

    async def run(self, *command: str, host: dict[str, Any] | None = None, **config: Any) -> tuple[int, str]:
        """Run to the end; gives the exit code and the log's text."""
        container = self.container(*command, host=host, **config)
        await self.start(container)
        end = await self.wait(container)
        return end.code, self.output(container)

    def output(self, container: Container) -> str:
        lines = self.layout.log(container.uid).read_text().splitlines()
        return "\n".join(line.split(" ", 3)[3] for line in lines)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="wh-runtime-") as directory:
        stage = Stage(Path(directory))
        await stage.exits.start()
        try:
            yield stage
        finally:
            await stage.exits.stop()
            for uid in stage.containers:
                await stage.runtime.delete(uid)
            for place in cgroups.directories(stage.layout.cgroup):
                if place.exists():
                    os.rmdir(place)


async def eventually(check: Any, seconds: float = 10) -> None:
    """Wait until ``check()`` is true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)
