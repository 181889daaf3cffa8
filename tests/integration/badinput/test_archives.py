"""Hostile archives by every door: into containers, as images to load, as file systems to import."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import zstandard

from tests.integration.badinput.arena import Arena
from tests.integration.badinput.values import ESCAPE
from tests.integration.badinput.wire import Reply, Request
from tests.support.audit import Auditor
from tests.support.image_content import digest_of, layer
from tests.unit.archive.hostile import CONTAINED, REFUSED
from tests.unit.archive.tars import Member, raw_header, tar

pytestmark = pytest.mark.host

MIB = 1024 * 1024
TAR = (b"Content-Type", b"application/x-tar")
SYMLINK, LINK, FIFO, CHARACTER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE


def put(arena: Arena, data: bytes, container: str = "idle", path: str = "/tmp", **more: bool) -> Reply:
    """``PUT /containers/{id}/archive``."""
    target = f"/containers/{container}/archive?path={path}".encode()
    return arena.send("PutContainerArchive", Request("PUT", target, (TAR,), data).render(), **more)


def load(arena: Arena, data: bytes, **more: bool) -> Reply:
    """``POST /images/load``."""
    return arena.send("ImageLoad", Request("POST", b"/images/load", (TAR,), data).render(), **more)


def bring_in(arena: Arena, data: bytes, **more: bool) -> Reply:
    """``POST /images/create`` from a tar."""
    return arena.send("ImageCreate", Request("POST", b"/images/create?fromSrc=-", (TAR,), data).render(), **more)


def refused(reply: Reply) -> bool:
    """By its status, or where lines of progress have gone out before by the last of them."""
    return 400 <= reply.status < 500 or reply.failed_midway


def settled(arena: Arena) -> None:
    """Nothing outside was touched, and nothing half-done was left behind."""
    arena.check_around()
    audit = Auditor(arena.engine.layout, arena.engine.pid, lambda path: arena.stage.ask("GET", path).json())
    assert audit.settled() == []


# Only layers have whiteouts.
@pytest.mark.parametrize("container", ["idle", "victim"])
@pytest.mark.parametrize("name", sorted(name for name in REFUSED if "whiteout" not in name))
def test_a_container_takes_no_hostile_tar(arena: Arena, name: str, container: str) -> None:
    assert refused(put(arena, REFUSED[name], container))
    arena.check_around()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_no_image_is_made_of_a_hostile_tar(arena: Arena, name: str) -> None:
    assert refused(bring_in(arena, REFUSED[name]))
    assert refused(load(arena, REFUSED[name]))
    settled(arena)


@pytest.mark.parametrize("name", sorted(CONTAINED))
def test_what_points_outside_lands_inside_of_a_container(arena: Arena, name: str) -> None:
    for container in ("idle", "victim"):
        assert put(arena, CONTAINED[name], container, "/").status == 200
    arena.check_around()


def test_a_link_in_a_container_leads_nobody_out(arena: Arena) -> None:
    ways = tar(
        Member("top", kind=SYMLINK, link="/"),
        Member("up", kind=SYMLINK, link="../../../../../../../.."),
        Member("first", kind=SYMLINK, link="/proc/1/root"),
        Member("self", kind=SYMLINK, link="/proc/self/cwd"),
    )
    outside = str(arena.engine.directory)
    for container in ("idle", "victim"):
        answer = arena.engine.request("PUT", f"/containers/{container}/archive?path=/", ways)
        assert answer.status == 200
        for way in ("", "/top", "/up", "/first", "/self", "/../../../..", "/tmp/../up/../.."):
            for path in (f"{way}{outside}/sentinel", f"{way}/../../..{outside}/outside"):
                for method in ("GET", "HEAD", "PUT"):
                    target = f"/containers/{container}/archive?path={path}".encode()
                    raw = Request(method, target, (TAR,), tar(Member("x")) if method == "PUT" else None).render()
                    reply = arena.send("ContainerArchive", raw, head=method == "HEAD")
                    assert 400 <= reply.status < 500, (method, path, reply)
                    assert b"beside the roots" not in reply.body
    arena.stage.restore("idle", "victim")
    arena.check_around()


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": partial(gzip.compress, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_damaged_compression_is_refused(arena: Arena, kind: str) -> None:
    whole = COMPRESSED[kind](tar(Member("a", bytes(range(256)) * 4000)))
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for data in (
        whole[:8],
        whole[: len(whole) // 2],
        whole[:-1],
        bytes(damaged),
        COMPRESSED[kind](b""),
        whole[:20] * 50,
    ):
        for way in (put, bring_in, load):
            reply = way(arena, data)
            assert refused(reply) or (data == COMPRESSED[kind](b"") and way is not load), (way, data[:60], reply)
    settled(arena)


def bomb(megabytes: int) -> bytes:
    """So much of a file of zeros in a few kilobytes of gzip, and then the stream stops."""
    squeeze = zlib.compressobj(9, wbits=31)
    parts = [squeeze.compress(raw_header(b"zeros", b"%011o\0" % (4096 * MIB)))]
    parts += [squeeze.compress(bytes(MIB)) for _ in range(megabytes)]
    return b"".join([*parts, squeeze.flush(zlib.Z_FULL_FLUSH)])


def test_a_bomb_takes_no_memory(arena: Arena) -> None:
    data = bomb(200)
    assert len(data) < MIB
    with arena.memory_watched(64, helpers=True):
        for way in (put, bring_in, load):
            assert refused(way(arena, data))
        # Twice compressed is no tar, however small it is.
        assert refused(put(arena, gzip.compress(data)))
    settled(arena)


@pytest.mark.parametrize("way", [put, bring_in, load])
def test_a_body_that_is_cut_off_leaves_nothing(arena: Arena, way: Any) -> None:
    whole = tar(Member("a", b"x" * 300_000), Member("b", b"y" * 300_000))
    target = {put: "/containers/idle/archive?path=/tmp", bring_in: "/images/create?fromSrc=-", load: "/images/load"}[
        way
    ]
    name = {put: "PutContainerArchive", bring_in: "ImageCreate", load: "ImageLoad"}[way]
    raw = Request("PUT" if way is put else "POST", target.encode(), (TAR,), whole).render()
    for kept in (400, 100_000, len(raw) - 1):
        reply = arena.send(name, raw[:kept], cut=True)
        assert reply.status == 0 or refused(reply), reply
    settled(arena)


def archive(**files: bytes) -> bytes:
    """What is called an image: files by name, with ``__`` for a slash."""
    return layer({name.replace("__", "/"): data for name, data in files.items()})


def manifest(**changes: Any) -> bytes:
    """A manifest of one image, with changes."""
    return json.dumps([{"Config": "c", "RepoTags": ["x:1"], "Layers": ["l"], **changes}]).encode()


LAYER = layer({"f": b"x"})
CONFIG = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest_of(LAYER)]}}


def image(**config: Any) -> bytes:
    """A right image with a configuration of its own."""
    return archive(**{"manifest.json": manifest(), "c": json.dumps({**CONFIG, "config": config}).encode(), "l": LAYER})


def _linked(name: str, target: str) -> bytes:
    return tar(Member("manifest.json", manifest()), Member(name, kind=SYMLINK, link=target), Member("l", LAYER))


IMAGES = {
    "nothing": archive(),
    "no manifest": archive(a=b"x"),
    "a manifest that is no JSON": archive(**{"manifest.json": b"{"}),
    "a manifest of another kind": archive(**{"manifest.json": b'{"a":1}'}),
    "a manifest of numbers": archive(**{"manifest.json": b"[1,2]"}),
    "a manifest without end": archive(**{"manifest.json": b"[" * 200_000}),
    "a deep manifest": archive(**{"manifest.json": b'[{"Config":"c","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]"}),
    "a manifest of 20 MB": archive(**{"manifest.json": b" " * 20 * MIB + b"[]"}),
    "a manifest in UTF-16": archive(**{"manifest.json": manifest().decode().encode("utf-16")}),
    "a configuration outside": archive(**{"manifest.json": manifest(Config="../../../../etc/passwd"), "l": LAYER}),
    "an absolute configuration": archive(**{"manifest.json": manifest(Config="/etc/passwd"), "l": LAYER}),
    "no configuration": archive(**{"manifest.json": manifest(), "l": LAYER}),
    "a configuration that is a link": _linked("c", "/etc/passwd"),
    "a configuration that is a link up": _linked("c", "../../../../../../etc/passwd"),
    "a configuration that is a pipe": tar(
        Member("manifest.json", manifest()), Member("c", kind=FIFO), Member("l", LAYER)
    ),
    "a configuration that is a device": tar(
        Member("manifest.json", manifest()), Member("c", kind=CHARACTER, fields={"devmajor": 1, "devminor": 5})
    ),
    "a deep configuration": archive(
        **{"manifest.json": manifest(), "c": b'{"config":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", "l": LAYER}
    ),
    "a configuration of the wrong types": image(Env=7),
    "a configuration without layers": archive(**{"manifest.json": manifest(), "c": b"{}", "l": LAYER}),
    "a layer outside": archive(
        **{"manifest.json": manifest(Layers=["../../../../etc/passwd"]), "c": json.dumps(CONFIG).encode()}
    ),
    "no layer": archive(**{"manifest.json": manifest(), "c": json.dumps(CONFIG).encode()}),
    "a layer that is another": archive(
        **{"manifest.json": manifest(), "c": json.dumps(CONFIG).encode(), "l": layer({"g": b"y"})}
    ),
    "a layer that is no tar": archive(
        **{
            "manifest.json": manifest(),
            "c": json.dumps({**CONFIG, "rootfs": {"diff_ids": [digest_of(b"noise" * 999)]}}).encode(),
            "l": b"noise" * 999,
        }
    ),
    "too many layers": archive(
        **{"manifest.json": manifest(Layers=["l"] * 5000), "c": json.dumps(CONFIG).encode(), "l": LAYER}
    ),
    "5,000 layers": archive(
        **{
            "manifest.json": manifest(Layers=["l"] * 5000),
            "c": json.dumps({**CONFIG, "rootfs": {"diff_ids": [digest_of(b"")] * 5000}}).encode(),
            "l": b"",
        }
    ),
    "a digest that is a path": archive(
        **{"manifest.json": manifest(), "c": b'{"rootfs":{"diff_ids":["sha256:../../../../x"]}}', "l": LAYER}
    ),
    "a name that is a path": archive(
        **{"manifest.json": manifest(RepoTags=["../../x:1"]), "c": json.dumps(CONFIG).encode(), "l": LAYER}
    ),
    "a name that is a digest": archive(
        **{"manifest.json": manifest(RepoTags=["sha256:abc"]), "c": json.dumps(CONFIG).encode(), "l": LAYER}
    ),
    "a name that is a number": archive(**{"manifest.json": manifest(RepoTags=[5])}),
    "an index that names itself": archive(
        **{
            "index.json": json.dumps({"manifests": [{"digest": digest_of(b"x")}]}).encode(),
            f"blobs__sha256__{digest_of(b'x')[7:]}": b"x",
        }
    ),
    "an index of paths": archive(**{"index.json": b'{"manifests":[{"digest":"sha256:../../../etc/passwd"}]}'}),
    "a manifest that is a directory": tar(Member("manifest.json", kind=tarfile.DIRTYPE)),
    "a manifest that is a link to itself": tar(Member("manifest.json", kind=SYMLINK, link="manifest.json")),
    "a way through a link": tar(
        Member("out", kind=SYMLINK, link="../../../../../../../tmp"),
        Member(f"out/{ESCAPE}", b"x"),
        Member("manifest.json", b"["),
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_no_image_is_made_of_a_lie(arena: Arena, name: str) -> None:
    assert refused(load(arena, IMAGES[name]))
    settled(arena)


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "an environment with a NUL": {"Cmd": ["f"], "Env": ["A=\0"]},
    "an environment that is none": {"Cmd": ["f"], "Env": ["", "=", "=x"]},
    "a command with a NUL": {"Cmd": ["a\0b"]},
    "an empty command": {"Cmd": [""]},
    "a user from nowhere": {"Cmd": ["f"], "User": "no:such"},
    "a user of 5,000 digits": {"Cmd": ["f"], "User": "9" * 5000},
    "a directory outside": {"Cmd": ["f"], "WorkingDir": "../../../.."},
    "a directory with a NUL": {"Cmd": ["f"], "WorkingDir": "/a\0b"},
    "a directory that is a file": {"Cmd": ["f"], "WorkingDir": "/f"},
    "volumes outside": {"Cmd": ["f"], "Volumes": {"../../x": {}}},
    "a volume over everything": {"Cmd": ["f"], "Volumes": {"/": {}}},
    "a volume in proc": {"Cmd": ["f"], "Volumes": {"/proc/self": {}}},
    "a volume with a NUL": {"Cmd": ["f"], "Volumes": {"/a\0b": {}}},
    "a volume on a file": {"Cmd": ["f"], "Volumes": {"/f": {}}},
    "ports that are none": {"Cmd": ["f"], "ExposedPorts": {"x/tcp": {}, "99999": {}, "9" * 5000 + "/tcp": {}}},
    "a signal that is none": {"Cmd": ["f"], "StopSignal": "SIGNOPE"},
    "a signal of 5,000 digits": {"Cmd": ["f"], "StopSignal": "9" * 5000},
    "a health check of no time": {"Cmd": ["f"], "Healthcheck": {"Test": ["CMD"], "Interval": -1, "Retries": -5}},
    "a health check of no kind": {"Cmd": ["f"], "Healthcheck": {"Test": ["X", ""], "Timeout": 2**63 - 1}},
    "labels of megabytes": {"Cmd": ["f"], "Labels": {"a": "b" * MIB, "": "", "c\0": "\0"}},
    "a host's name with lines": {"Cmd": ["f"], "Hostname": "a\n1.2.3.4 evil", "Domainname": "\0"},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_an_image_that_asks_for_the_impossible_is_the_clients_to_answer_for(arena: Arena, name: str) -> None:
    loaded = arena.stage.ask("POST", "/images/load", image(**CONFIGURATIONS[name]))
    assert loaded.status == 200, loaded
    arena.stage.accept()
    body = b'{"Image":"x:1"}'
    created = Request("POST", b"/containers/create", ((b"Content-Type", b"application/json"),), body)
    arena.send("ContainerCreate", created.render())
    arena.stage.restore()
    settled(arena)
