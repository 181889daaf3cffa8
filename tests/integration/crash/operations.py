"""What a client can be doing when the daemon dies: preparations, the fatal request, and how to ask again.

Each operation is named as the crash points on its way are: ``container.start.created`` dies during ``container.start``.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.engine import Engine

FATAL = "fatal"
NETWORK = "fatalnet"
VOLUME = "fatalvol"
TAG = "busybox:fatal"


@dataclass(frozen=True)
class Operation:
    """``prepare`` before the daemon is armed, ``act`` the request that it dies in, ``clean`` to leave nothing."""

    prepare: Callable[[Engine], None]
    act: Callable[[Engine], None]
    clean: Callable[[Engine], None]


def ask(engine: Engine, method: str, path: str, body: object = None, *, fine: tuple[int, ...] = ()) -> bytes:
    """One request that has to succeed, or to fail with one of the ``fine`` codes."""
    answer = engine.request(method, path, body, timeout=30)
    assert answer.status < 300 or answer.status in fine, (method, path, answer.status, answer.body)
    return answer.body


def create(engine: Engine, *, command: tuple[str, ...] = ("sleep", "1000"), restart: str = "") -> None:
    """The container that everything happens to: with a port, a named and an anonymous volume."""
    ask(
        engine,
        "POST",
        f"/containers/create?name={FATAL}",
        {
            "Image": "busybox:latest",
            "Cmd": list(command),
            "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/usr": {}},
            "StopTimeout": 1,
            "HostConfig": {
                "PortBindings": {"80/tcp": [{"HostPort": "18080"}]},
                "Binds": [f"{VOLUME}:/data"],
                "RestartPolicy": {"Name": restart},
            },
        },
        fine=(409,),
    )


def started(engine: Engine, **options: object) -> None:
    """The container, running."""
    create(engine, **options)  # type: ignore[arg-type]
    ask(engine, "POST", f"/containers/{FATAL}/start", fine=(304,))


def remove(engine: Engine) -> None:
    """Nothing of the container, its volume, the network and the tag is left."""
    container_remove(engine)
    ask(engine, "DELETE", f"/volumes/{VOLUME}", fine=(404,))
    ask(engine, "DELETE", f"/networks/{NETWORK}", fine=(404,))
    ask(engine, "DELETE", f"/images/{TAG}", fine=(404,))
    ask(engine, "DELETE", "/images/fatal:latest", fine=(404,))
    ask(engine, "POST", "/images/prune")


def nothing(engine: Engine) -> None:
    """No preparation is needed."""


def on_container(verb: str, query: str = "") -> Callable[[Engine], None]:
    """``POST /containers/fatal/{verb}``."""

    def act(engine: Engine) -> None:
        # Asked again after the crash, it may find that it was done.
        ask(engine, "POST", f"/containers/{FATAL}/{verb}{query}", fine=(304, 409))

    return act


def network_create(engine: Engine) -> None:
    """Make the network."""
    ask(engine, "POST", "/networks/create", {"Name": NETWORK, "CheckDuplicate": True}, fine=(409,))


def volume_create(engine: Engine) -> None:
    """Make the volume."""
    ask(engine, "POST", "/volumes/create", {"Name": VOLUME})


def small_tar(content: bytes) -> bytes:
    """A root file system with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("hello")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def image_import(engine: Engine, content: bytes = b"hello") -> None:
    """Import an image."""
    body = ask_tar(engine, "/images/create?fromSrc=-&repo=fatal&tag=latest", small_tar(content))
    assert b"sha256:" in body, body


def ask_tar(engine: Engine, path: str, body: bytes) -> bytes:
    """Send a tar, and fail on an error in the progress stream as well."""
    answer = engine.request("POST", path, body, headers={"Content-Type": "application/x-tar"}, timeout=30)
    assert answer.status == 200, answer.body
    for line in answer.body.splitlines():
        assert "error" not in json.loads(line), line
    return answer.body


def image_load(engine: Engine) -> None:
    """Load what was saved before."""
    ask_tar(engine, "/images/load", (engine.directory / "fatal.tar").read_bytes())


def saved(engine: Engine) -> None:
    """An image in a file, and not in the engine."""
    image_import(engine)
    (engine.directory / "fatal.tar").write_bytes(ask(engine, "GET", "/images/fatal:latest/get"))
    ask(engine, "DELETE", "/images/fatal:latest")


def container_remove(engine: Engine) -> None:
    """Remove the running container with its anonymous volume; one that is already on its way out is waited for."""
    deadline = time.monotonic() + 20
    while True:
        answer = engine.request("DELETE", f"/containers/{FATAL}?force=1&v=1", timeout=30)
        if answer.status in (204, 404):
            return
        assert answer.status == 409, answer.body
        assert b"already in progress" in answer.body, answer.body
        assert time.monotonic() < deadline, "the removal does not come to an end"
        time.sleep(0.05)


def ended_by_itself(engine: Engine) -> None:
    """Start a container that ends at once, and wait."""
    ask(engine, "POST", f"/containers/{FATAL}/start", fine=(304,))
    ask(engine, "POST", f"/containers/{FATAL}/wait")


def with_network_beside(engine: Engine) -> None:
    """The container, running on the default bridge, and a network that it is not on."""
    network_create(engine)
    started(engine)


def connected(engine: Engine) -> None:
    """The container, running, on the default bridge and on the network."""
    with_network_beside(engine)
    ask(engine, "POST", f"/networks/{NETWORK}/connect", {"Container": FATAL})


def with_network(engine: Engine) -> None:
    """The container in a network of its own, running."""
    network_create(engine)
    ask(
        engine,
        "POST",
        f"/containers/create?name={FATAL}",
        {
            "Image": "busybox:latest",
            "Cmd": ["sleep", "1000"],
            "HostConfig": {"NetworkMode": NETWORK, "Binds": [f"{VOLUME}:/data"]},
        },
        fine=(409,),
    )


def executed(engine: Engine) -> None:
    """A process in the running container, which ends."""
    made = json.loads(ask(engine, "POST", f"/containers/{FATAL}/exec", {"Cmd": ["true"], "AttachStdout": True}))
    ask(engine, "POST", f"/exec/{made['Id']}/start", {"Detach": True})


def with_device_volume(engine: Engine) -> None:
    """The container, with a volume that has to be mounted."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    ask(engine, "POST", "/volumes/create", {"Name": VOLUME, "DriverOpts": options})
    create(engine)


def renamed(engine: Engine) -> None:
    """Another name for the container, known on its network; and back, so that it is found again."""
    ask(engine, "POST", f"/containers/{FATAL}/rename?name={FATAL}2", fine=(404,))
    ask(engine, "POST", f"/containers/{FATAL}2/rename?name={FATAL}")


def running_with_network(engine: Engine) -> None:
    """The container, running in a network of its own."""
    with_network(engine)
    ask(engine, "POST", f"/containers/{FATAL}/start", fine=(304,))


def stopped(engine: Engine) -> None:
    """The container, which ran once."""
    started(engine)
    ask(engine, "POST", f"/containers/{FATAL}/kill")


def unused(engine: Engine) -> None:
    """A network, a volume and an image without a name that nobody uses."""
    network_create(engine)
    volume_create(engine)
    image_import(engine, b"older")
    image_import(engine)


def prune(what: str) -> Callable[[Engine], None]:
    """``POST /{what}/prune``."""
    return lambda engine: void(ask(engine, "POST", f"/{what}/prune"))


def half_filled(engine: Engine) -> None:
    """A volume as a crash leaves it while it is being filled from an image."""
    volume_create(engine)
    data = engine.layout.volume_data(VOLUME)
    (data / "half").touch()
    (data.parent / "populating").touch()


def create_refilled(engine: Engine) -> None:
    """A container that has the volume where its image has files."""
    body = {"Image": "busybox:latest", "Cmd": ["true"], "HostConfig": {"Binds": [f"{VOLUME}:/bin"]}}
    ask(engine, "POST", f"/containers/create?name={FATAL}", body, fine=(409,))


def cannot_start(engine: Engine) -> None:
    """Start a container whose program does not exist, which fails each time."""
    ask(engine, "POST", f"/containers/{FATAL}/start", fine=(400,))


def paused(engine: Engine) -> None:
    """The container, frozen."""
    started(engine)
    ask(engine, "POST", f"/containers/{FATAL}/pause")


def updated(engine: Engine) -> None:
    """Give the running container more weight."""
    ask(engine, "POST", f"/containers/{FATAL}/update", {"CpuShares": 512})


OPERATIONS: dict[str, Operation] = {
    "container.create": Operation(nothing, create, remove),
    "container.start": Operation(create, on_container("start"), remove),
    "container.stop": Operation(started, on_container("stop", "?t=1"), remove),
    "container.kill": Operation(started, on_container("kill"), remove),
    "container.restart": Operation(started, on_container("restart", "?t=0"), remove),
    "container.pause": Operation(started, on_container("pause"), remove),
    "container.exit": Operation(lambda e: create(e, command=("true",)), ended_by_itself, remove),
    "container.remove": Operation(started, container_remove, remove),
    "container.unpause": Operation(paused, on_container("unpause"), remove),
    "container.update": Operation(started, updated, remove),
    "container.fail": Operation(lambda e: create(e, command=("nosuch",)), cannot_start, remove),
    "container.rename": Operation(running_with_network, renamed, remove),
    "container.signal": Operation(started, on_container("kill", "?signal=USR1"), remove),
    "exec.start": Operation(started, executed, remove),
    "container.prune": Operation(stopped, prune("containers"), remove),
    "network.prune": Operation(unused, prune("networks"), remove),
    "volume.prune": Operation(unused, prune("volumes"), remove),
    "image.prune": Operation(unused, prune("images"), remove),
    "volume.mount": Operation(with_device_volume, on_container("start"), remove),
    "volume.refill": Operation(half_filled, create_refilled, remove),
    "network.create": Operation(nothing, network_create, remove),
    "network.remove": Operation(
        network_create, lambda e: void(ask(e, "DELETE", f"/networks/{NETWORK}", fine=(404,))), remove
    ),
    "network.connect": Operation(
        with_network_beside,
        lambda e: void(ask(e, "POST", f"/networks/{NETWORK}/connect", {"Container": FATAL}, fine=(403,))),
        remove,
    ),
    "network.disconnect": Operation(
        connected,
        lambda e: void(ask(e, "POST", f"/networks/{NETWORK}/disconnect", {"Container": FATAL}, fine=(409,))),
        remove,
    ),
    "network.attach": Operation(with_network, on_container("start"), remove),
    "volume.create": Operation(nothing, volume_create, remove),
    "volume.remove": Operation(
        volume_create, lambda e: void(ask(e, "DELETE", f"/volumes/{VOLUME}", fine=(404,))), remove
    ),
    "image.import": Operation(nothing, image_import, remove),
    "image.load": Operation(saved, image_load, remove),
    "image.tag": Operation(
        nothing, lambda e: void(ask(e, "POST", "/images/busybox/tag?repo=busybox&tag=fatal")), remove
    ),
    "image.remove": Operation(
        image_import, lambda e: void(ask(e, "DELETE", "/images/fatal:latest", fine=(404,))), remove
    ),
}


def void(_: object) -> None:
    """Forget an answer."""
