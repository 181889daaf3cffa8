"""Files of containers: archive, changes, export."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping

from tests.differential.calls import Call, Run, ended, made, running


def tar(files: Mapping[str, bytes]) -> bytes:
    """A tar of files, owned by nobody in particular and old."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime, member.uid, member.gid = len(content), 0o640, 1000000000, 1000, 1000
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


SOME = tar({"one": b"1", "deep/two": b"22"})
PUT = {"Content-Type": "application/x-tar"}

RUNS = [
    Run(
        "archives",
        [
            made("ff", HostConfig={"Binds": ["readable:/ro:ro"]}),
            Call("PUT /containers/ff/archive?path=/tmp", 200, SOME, headers=PUT),
            Call("PUT /containers/ff/archive?path=/tmp", 200, gzip.compress(SOME, mtime=0), headers=PUT),
            Call("PUT /containers/ff/archive?path=/tmp&copyUIDGID=1", 200, SOME, headers=PUT),
            Call("GET /containers/ff/archive?path=/tmp", 200),
            Call("GET /containers/ff/archive?path=/tmp/one", 200),
            Call("GET /containers/ff/archive?path=/tmp/.", 200),
            Call("HEAD /containers/ff/archive?path=/etc/passwd", 200),
            Call("HEAD /containers/ff/archive?path=/bin/sh", 200),
            Call("HEAD /containers/ff/archive?path=/etc", 200),
            Call("GET /containers/ff/archive", 400),
            Call("HEAD /containers/ff/archive", 400),
            Call("PUT /containers/ff/archive", 400, SOME, headers=PUT),
            Call("GET /containers/ff/archive?path=", 400),
            Call("GET /containers/ff/archive?path=/nowhere", 404),
            Call("HEAD /containers/ff/archive?path=/nowhere", 404),
            Call("PUT /containers/ff/archive?path=/nowhere", 404, SOME, headers=PUT),
            Call("PUT /containers/ff/archive?path=/etc/passwd", 500, SOME, headers=PUT, ours=400),
            Call("PUT /containers/ff/archive?path=/ro", 500, SOME, headers=PUT, ours=403),
            Call("PUT /containers/ff/archive?path=/tmp", 500, b"no tar at all" * 100, headers=PUT, ours=400),
            Call(
                "PUT /containers/ff/archive?path=/tmp&noOverwriteDirNonDir=1",
                500,
                tar({"deep": b""}),
                headers=PUT,
                ours=400,
            ),
            Call("PUT /containers/ff/archive?path=/tmp&noOverwriteDirNonDir=x", 200, SOME, headers=PUT),
            Call("GET /containers/nobody/archive?path=/etc", 404),
            Call("HEAD /containers/nobody/archive?path=/etc", 404),
            Call("PUT /containers/nobody/archive?path=/etc", 404, SOME, headers=PUT),
            made("sealed", HostConfig={"ReadonlyRootfs": True}),
            Call("PUT /containers/sealed/archive?path=/tmp", 500, SOME, headers=PUT, ours=403),
            *running("rr"),
            Call("PUT /containers/rr/archive?path=/tmp", 200, SOME, headers=PUT),
            Call("GET /containers/rr/archive?path=/tmp/deep", 200),
            Call("GET /containers/rr/archive?path=/proc/version", 404),
        ],
        events=False,
    ),
    Run(
        "changes and export",
        [
            *ended("gg", "sh", "-c", "touch /new; rm /etc/group; echo x >> /etc/passwd; mkdir -p /a/b"),
            Call("GET /containers/gg/changes", 200, unordered=[""]),
            Call("GET /containers/gg/export", 200),
            made("untouched"),
            Call("GET /containers/untouched/changes", 200),
            Call("GET /containers/nobody/changes", 404),
            Call("GET /containers/nobody/export", 404),
        ],
    ),
]
