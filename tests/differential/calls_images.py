"""Images: list, inspect, history, tag, remove, prune, pull and import, load, save."""

from __future__ import annotations

import json

from tests.differential.calls import Call, Run, made, ours
from tests.differential.calls_files import PUT, SOME, tar
from tests.support.image_content import Content, digest_of, image, index, layer

BASE, TOP = layer({"base": b"from below"}), layer({"top": b"from above"})
RICH = image(
    [BASE, TOP],
    Env=["A=b"],
    Entrypoint=["/entry"],
    Labels={"a": "b"},
    ExposedPorts={"80/tcp": {}},
    Volumes={"/data": {}},
    User="1000",
    WorkingDir="/work",
    StopSignal="SIGINT",
    OnBuild=["RUN true"],
    Healthcheck={"Test": ["CMD", "true"], "Interval": 5000000000},
)
OTHER = image([BASE], Labels={"only": "these"})
FOREIGN = image([TOP], architecture="s390x", Labels={"only": "these"})


def saved(content: Content, *names: str) -> bytes:
    """An image as ``docker save`` would write it."""
    configuration, *layers = digest_of(content.configuration).removeprefix("sha256:") + ".json", BASE, TOP
    files = {f"{number}/layer.tar": data for number, data in enumerate(layers)}
    manifest = [{"Config": configuration, "RepoTags": list(names) or None, "Layers": list(files)}]
    return tar({**files, configuration: content.configuration, "manifest.json": json.dumps(manifest).encode()})


RUNS = [
    Run(
        "images",
        [
            Call("GET /images/json", 200, loose=[r"\[\]\.Size", r"\[\]\.VirtualSize"]),
            Call("GET /images/busybox/json", 200),
            Call("GET /images/busybox:latest/json", 200, keep="image"),
            Call("GET /images/{image}/json", 200),
            Call("GET /images/nosuchimage/json", 404),
            Call("GET /images/nosuchimage:tag/json", 404),
            Call("GET /images/BAD NAME/json", 400),
            Call("GET /images/busybox/history", 200),
            Call("GET /images/nosuchimage/history", 404),
            Call("GET /images/BAD NAME/history", 400),
            Call("POST /images/busybox/tag?repo=mine&tag=1", 201),
            Call("POST /images/busybox/tag?repo=example.org:5000/deep/mine", 201),
            Call("POST /images/busybox/tag?repo=mine&tag=1", 201),
            Call("POST /images/busybox/tag?repo=BAD NAME", 500, ours=400),
            Call("POST /images/busybox/tag?repo=mine&tag=bad tag", 500, ours=400),
            Call("POST /images/busybox/tag", 500, ours=400),
            Call("POST /images/nosuchimage/tag?repo=mine", 404),
            Call("GET /images/mine:1/json", 200, unordered=["RepoTags"]),
            Call("GET /images/json?all=1&digests=1", 200, unordered=[r"\[\]\.RepoTags"]),
            *(
                Call(f"GET /images/json?filters={filters}", status, unordered=[r"\[\]\.RepoTags"], ours=ours(status))
                for filters, status in (
                    ('{"reference":["mine*"]}', 200),
                    ('{"reference":["*/*/*"]}', 200),
                    ('{"reference":["[broken"]}', 500),
                    ('{"dangling":["true"]}', 200),
                    ('{"dangling":["nonsense"]}', 400),
                    ('{"label":["a"]}', 200),
                    ('{"before":["nosuchimage"]}', 404),
                    ('{"since":["busybox"]}', 200),
                    ('{"nonsense":["1"]}', 400),
                    ("{", 500),
                )
            ),
            Call("DELETE /images/mine:1", 200),
            Call("DELETE /images/example.org:5000/deep/mine", 200),
            Call("DELETE /images/mine:1", 404),
            Call("DELETE /images/BAD NAME", 400),
            Call("POST /images/busybox/tag?repo=mine", 201),
            made("user"),
            Call("DELETE /images/{image}", 409),
            Call("DELETE /images/mine", 200),
            Call("DELETE /images/busybox", 409),
            Call('POST /images/prune?filters={"dangling":["true"]}', 200),
            Call('POST /images/prune?filters={"dangling":["nonsense"]}', 400),
            Call('POST /images/prune?filters={"nonsense":["1"]}', 400),
            Call('POST /images/prune?filters={"until":["nonsense"]}', 500, ours=400),
            Call("POST /images/prune?filters={", 500, ours=400),
        ],
    ),
    Run(
        "pulls",
        [
            Call("POST /images/create?fromImage={registry}/rich&tag=1", 200),
            Call("POST /images/create?fromImage={registry}/rich&tag=1", 200),
            Call("GET /images/{registry}/rich:1/json", 200, keep="image"),
            Call("GET /images/{registry}/rich:1/history", 200),
            Call("GET /images/json?digests=1", 200),
            Call("GET /distribution", 404),
            Call("POST /images/create?fromImage={registry}/several&tag=1", 200),
            Call("POST /images/create?fromImage={registry}/several&tag=1&platform=linux/s390x", 200),
            Call("GET /images/{registry}/several:1/json", 200),
            Call("POST /images/create?fromImage={registry}/rich", 200),
            Call("POST /images/create?fromImage={registry}/rich&tag=missing", 404),
            Call("POST /images/create?fromImage={registry}/nothing&tag=1", 404),
            Call("POST /images/create?fromImage={registry}/plain&tag=latest&platform=linux/riscv64", 200),
            Call("POST /images/create?fromImage={registry}/rich&tag=1&platform=a/b/c/d", 400),
            Call("POST /containers/create?name=of-rich", 201, {"Image": "{registry}/rich:1"}, keep="made"),
            Call("GET /containers/of-rich/json", 200),
            Call("DELETE /images/{registry}/rich:1", 409),
            Call("DELETE /images/{registry}/rich:1?force=1", 200),
            Call("DELETE /containers/of-rich?v=1", 204),
            Call("POST /images/prune", 200, unordered=["ImagesDeleted"]),
            Call(
                'POST /images/prune?filters={"dangling":["false"],"label":["only"],"until":["24h"]}',
                200,
                unordered=["ImagesDeleted"],
            ),
        ],
        events=False,
        images={"rich:1": RICH, "rich:2": OTHER, "several:1": index(OTHER, FOREIGN), "plain:latest": OTHER},
    ),
    Run(
        "the events of a pull",
        [
            Call("POST /images/create?fromImage={registry}/rich&tag=1", 200),
            Call("DELETE /images/{registry}/rich:1", 200),
        ],
        images={"rich:1": RICH},
    ),
    Run(
        "loads",
        [
            Call("POST /images/load?quiet=1", 200, saved(RICH, "loaded:1", "loaded:2"), headers=PUT),
            Call("GET /images/loaded:1/json", 200, unordered=["RepoTags"]),
            Call("POST /images/load?quiet=1", 200, saved(RICH, "loaded:1"), headers=PUT),
            Call("GET /images/loaded:1/get", 200),
            Call("GET /images/get?names=loaded:1&names=loaded:2", 200),
            Call("DELETE /images/loaded:2?noprune=1", 200),
            Call("DELETE /images/loaded:1", 200),
            Call("POST /images/load?quiet=0", 200, saved(RICH), headers=PUT),
            Call('GET /images/json?filters={"dangling":["true"]}', 200),
            Call("POST /images/prune", 200, unordered=["ImagesDeleted"]),
            Call("POST /images/prune", 200, unordered=["ImagesDeleted"]),
        ],
    ),
    Run(
        "images in and out",
        [
            Call("GET /images/busybox/get", 200),
            Call("GET /images/get?names=busybox:latest", 200),
            Call("GET /images/nosuchimage/get", 404),
            Call("GET /images/nosuchimage:tag/get", 404),
            Call("GET /images/get?names=nosuchimage", 404),
            Call("GET /images/get?names=nosuchimage:tag", 404),
            Call("GET /images/get?names=busybox&names=nosuchimage:tag", 404),
            Call("GET /images/busybox:tag/get", 404),
            Call("GET /images/get", 200),
            Call("GET /images/get?names=BAD NAME", 500, ours=400),
            Call("POST /images/load?quiet=1", 200, b"no tar at all" * 100, headers=PUT, earlier=400),
            Call("POST /images/load", 200, SOME, headers=PUT, earlier=400),
            Call("POST /images/create?fromSrc=-&repo=imported&tag=1", 200, SOME, headers=PUT),
            Call("GET /images/imported:1/json", 200),
            Call("GET /images/imported:1/history", 200),
            Call("GET /images/json", 200),
            Call(
                "POST /images/create?fromSrc=-&repo=imported&tag=2&changes=CMD true&changes=ENV a=b&message=mine",
                200,
                SOME,
                headers=PUT,
            ),
            Call("GET /images/imported:2/json", 200),
            Call("GET /images/imported:2/history", 200),
            Call("POST /images/create?fromSrc=-&repo=BAD NAME", 400, SOME, headers=PUT),
            Call("POST /images/create?fromSrc=-&repo=imported&changes=NONSENSE x", 400, SOME, headers=PUT),
            Call("POST /images/create?fromSrc=-", 500, b"no tar at all" * 100, headers=PUT, ours=400),
            Call("POST /images/create?fromImage=BAD NAME", 400),
            Call("POST /images/create?fromImage=busybox&tag=bad tag", 400),
            Call("POST /images/create?fromImage=127.0.0.1:9/nothing&tag=x", 500),
            Call("POST /images/create", 500, earlier=400),
            Call("DELETE /images/imported:2", 200),
            Call("DELETE /images/imported:1", 200),
        ],
    ),
]
