"""Hostile values: strings, numbers, and JSON that a serialiser would never write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.integration.badinput.document import Document

ESCAPE = "wharfinger-escaped"
"""What every hostile path wants to make: nothing of this name may be found outside of a container."""


@dataclass(frozen=True)
class Token:
    """Bytes that stand where a JSON value should."""

    text: bytes


@dataclass(frozen=True)
class Members:
    """A JSON object as its members, so that a key may come twice."""

    pairs: tuple[tuple[str, Any], ...]


def emit(value: Any) -> bytes:
    """JSON, as far as the value lets it be."""
    match value:
        case Token():
            return value.text
        case Members():
            return b"{" + b",".join(emit(key) + b":" + emit(item) for key, item in value.pairs) + b"}"
        case list():
            return b"[" + b",".join(map(emit, value)) + b"]"
        case dict():
            return emit(Members(tuple(value.items())))
        case _:
            return json.dumps(value).encode()


STRINGS = (
    "", " ", "\0", "a\0b", "\n", "a\r\nInjected: yes", "\t", "\x7f", "é", "🦭", "\ud800", "\udfff\ud800", "\u202e",
    "\ufeff",
    ".", "..", "/", "//", "../..", "../../../../../../tmp/" + ESCAPE, "/tmp/" + ESCAPE, "/proc/self/root/tmp/" + ESCAPE,
    "..\\..\\" + ESCAPE, "%00", "%2f..%2f", "%2e%2e%2f" + ESCAPE, "\x2e\x2e/" + ESCAPE, "~root", "-rf", "--privileged",
    "0", "-1", "+1", "1.5", "1e400", "NaN", "0x10", "1_000", "٣", "²", " 5 ", "9223372036854775808",
    "-9223372036854775809",
    "9" * 400, "9" * 5000, "seccomp=" + "[" * 50_000, "true", "null", "{}", "[]", '{"a":', "'", '"', "`id`", "$(id)",
    ";id", "|", "{{.}}", "%s%n", "a b", "a" * 300,
    "a" * 70_000, "container:", "container:victim", "container:../..", "host", "none", "bridge", "default", "victim",
    "idle", "kept", "net", "busybox", "busybox:", "busybox@", ":latest", "sha256:", "sha256:zz", "sha256:" + "0" * 64,
    "0" * 64, "a/b/c", "A", "UPPER:Case", "localhost:99999/x", "[::1]:5000/x", "a:b:c:d", "/a:/b:zz", "/..:/x",
    "kept:/", "kept:/x:ro,rw", ":/x", "/x:", "2001:db8::1", "0.0.0.0", "255.255.255.256", "10.0.0.0/33", "0.0.0.0/0",
    "80/tcp", "0/tcp", "65536/tcp", "80/quic", "80-70/tcp", "1-65535", "80-/tcp", "/tcp", "SIGKILL", "SIGNOPE", "65",
    "2020-01-01T00:00:00Z", "99999-99-99", "10m", "-10h", "1h1h", "9999999999h", "ctrl-", "ctrl-^,x", "a,b,", "(",
    "[a-",
    "(a+)+$", "until=1h", "key=value", "=", "=x", "k=", "KEY=\0", "json-file", "syslog", "seccomp=unconfined",
    "seccomp={", "apparmor=", "no-new-privileges:maybe", "label=", "on-failure", "always", "rshared", "slave",
)  # fmt: skip

TOKENS = (
    b"1e400", b"-1e400", b"1e-400", b"NaN", b"Infinity", b"-Infinity", b"-0", b"-0.0", b"1.5", b"1.0", b"1e3", b"01",
    b"+1",
    b".5", b"1.", b"0x10", b"1_0", b"--1", b"9" * 5000, b"tru", b"nul", b"undefined", b"'a'", b"", b",", b"}", b"]",
    b":",
    b"[1,]", b'{"a":1,}', b'"\xff\xfe"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\udc00\\ud800"',
    b'"\\u00"',
    b'"\\x41"', b'"a', b'"\x01"', b'"\n"', b'"\\u0000"', b"/**/1", b"1//x", b"\xef\xbb\xbf1", b"[" * 499 + b"]" * 499,
    b"[" * 20_000 + b"]" * 20_000, b'{"a":' * 20_000 + b"1" + b"}" * 20_000, b"[" * 20_000,
    b'"' + b"a" * 200_000 + b'"',
    b'{"a":1,"a":2,"A":3}', b'{"":1}', b'{"__class__":1,"__proto__":{}}', b"[" + b"0," * 20_000 + b"0]",
)  # fmt: skip

INTEGERS = (
    0, 1, -1, 2, 3, 4, 5, 10, 64, 100, 1000, 1001, 4096, 2**20, 6 * 2**20, 2**31 - 1, 2**31, 2**32, 2**53 + 1,
    2**63 - 1,
    2**63, 2**64, -(2**31), -(2**63), -(2**63) - 1, 10**30, -(10**400),
)  # fmt: skip

strings: SearchStrategy[str] = st.one_of(st.sampled_from(STRINGS), st.text(max_size=20))
integers: SearchStrategy[int] = st.one_of(st.sampled_from(INTEGERS), st.integers())
tokens: SearchStrategy[Token] = st.builds(Token, st.sampled_from(TOKENS))
scalars: SearchStrategy[Any] = st.one_of(st.none(), st.booleans(), integers, strings, tokens)
anything: SearchStrategy[Any] = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.lists(st.tuples(strings, scalars), max_size=3).map(lambda pairs: Members(tuple(pairs))),
)

# What a field usually holds, so that the others beside it get looked at.
USUAL: Mapping[str, Sequence[Any]] = {
    "Image": ("busybox",),
    "Cmd": (["true"], ["sh", "-c", "exit 3"], ["no-such-program"], ["/etc"]),
    "Entrypoint": (None, None, ["true"], "true"),
    "Env": (["A=B"], ["=x"], ["A"], ["A=\0"]),
    "Hostname": ("box", "-box", "a.b"),
    "User": ("root", "0:0", "nobody", "1000:nobody", "no-such-user", "-1", "4294967296"),
    "WorkingDir": ("/", "/tmp", "relative", "/no/such", "/etc/passwd"),
    "MacAddress": ("02:42:ac:11:00:09", "02:42", "ff:ff:ff:ff:ff:ff"),
    "StopSignal": ("SIGTERM", "15", "99"),
    "Binds": (["kept:/x"], ["/tmp:/x:ro"], ["../x:/y"], ["/etc/passwd:/x"], ["/:/"], ["x:/y:z:w"], ["/no/such:/x"]),
    "VolumesFrom": (["victim"], ["victim:ro"], ["victim:zz"], ["none-such"]),
    "Volumes": ({"/x": {}}, {"x": {}}, {"/": {}}, {"/../..": {}}, {"/etc/passwd": {}}),
    "Tmpfs": ({"/x": "size=1m"}, {"/x": "size=lots"}, {"/x": "nonsense"}, {"x": ""}, {"/": ""}, {"/proc/x": ""}),
    "NetworkMode": ("none", "bridge", "host", "net", "container:victim", "container:idle", "none-such"),
    "IpcMode": ("private", "host", "shareable", "none", "container:victim", "container:idle"),
    "PidMode": ("", "host", "container:victim", "container:idle"),
    "UTSMode": ("", "host", "container:victim"),
    "CgroupnsMode": ("", "private", "host"),
    "UsernsMode": ("", "host"),
    "CgroupParent": ("", "/x", "a/b", "../..", "/../../.."),
    "Sysctls": ({"net.ipv4.ip_forward": "1"}, {"net.ipv4.none_such": "1"}, {"kernel.shmmax": "x"}, {"../../x": "1"}),
    "CapAdd": (["ALL"], ["NET_ADMIN"], ["cap_chown"], ["NONE_SUCH"]),
    "CapDrop": (["ALL"], ["NET_RAW"], ["NONE_SUCH"]),
    "Ulimits": ([{"Name": "nofile", "Soft": 10, "Hard": 5}], [{"Name": "x"}],
        [{"Name": "core", "Soft": -1, "Hard": -1}]),
    "Devices": ([{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x"}], [{"PathOnHost": "/no"}],
        [{"PathOnHost": "/etc"}]),
    "DeviceCgroupRules": (["c 1:3 r"], ["x 1:3 r"], ["c 1:99999999999 rwm"]),
    "Mounts": (
        [{"Type": "bind", "Source": "/tmp", "Target": "/x"}], [{"Type": "volume", "Source": "kept", "Target": "/x"}],
        [{"Type": "volume", "Source": "../x", "Target": "/x"}], [{"Type": "tmpfs", "Target": "/x", "Source": "y"}],
        [{"Type": "npipe", "Target": "/x"}], [{"Type": "bind", "Source": "rel", "Target": "/../x"}],
        [{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": -1, "Mode": 99999}}],
    ),
    "ExtraHosts": (["a:1.2.3.4"], ["a"], ["a:b"], ["a:1.2.3.4\n6.6.6.6 evil"]),
    "Dns": (["1.1.1.1"], ["x"], ["1.1.1.1\noptions evil"]),
    "DnsSearch": (["a.b"], ["a b"], ["."], ["x\ny"]),
    "SecurityOpt": (["no-new-privileges"], ["seccomp=unconfined"], ["seccomp={}"], ["seccomp={"], ["x"]),
    "PortBindings": (
        {"80/tcp": [{"HostPort": ""}]}, {"80/tcp": [{"HostPort": "99999"}]}, {"80/tcp": [{"HostIp": "x"}]},
        {"x/tcp": []}, {"80-82/tcp": [{"HostPort": "80-81"}]}, {"80/tcp": [{"HostIp": "192.0.2.1", "HostPort": "1"}]},
    ),
    "ExposedPorts": ({"80/tcp": {}}, {"80": {}}, {"x": {}}, {"1-9999/udp": {}}),
    "Links": (["victim:v"], ["none-such:x"], ["a:b:c"], [":"]),
    "RestartPolicy": ({"Name": "no"}, {"Name": "always"}, {"Name": "x"}, {"Name": "no", "MaximumRetryCount": 3}),
    "LogConfig": ({"Type": "json-file"}, {"Type": "none"}, {"Type": "x"},
        {"Type": "json-file", "Config": {"max-size": "x"}}),
    "Runtime": ("", "runc", "none-such"),
    "Healthcheck": ({"Test": ["CMD", "true"]}, {"Test": ["X"]}, {"Test": ["CMD"], "Interval": 1}),
    "EndpointsConfig": (
        {"net": {}}, {"none-such": {}}, {"net": None}, {"net": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}},
        {"net": {"Links": ["x"]}}, {"net": {"MacAddress": "zz"}},
        {"net": {"IPAMConfig": {"IPv4Address": "172.30.0.9"}}},
    ),
    "Container": ("victim", "idle", "none-such"),
    "Driver": ("", "bridge", "local", "overlay", "none-such"),
    "IPAM": (
        {"Config": [{"Subnet": "172.30.0.0/16"}]}, {"Config": [{"Subnet": "10.77.0.0/31"}]}, {"Driver": "x"},
        {"Config": [{"Subnet": "x"}]}, {"Config": [{"Subnet": "10.78.0.0/24", "Gateway": "10.79.0.1"}]},
        {"Config": [{"Subnet": "10.80.0.1/24", "IPRange": "10.80.0.0/16"}]}, {"Config": [{"Gateway": "1.2.3.4"}]},
        {"Config": [{"Subnet": "fe80::/64"}]}, {"Config": [{"Subnet": "127.0.0.0/8"}]},
    ),
    "Options": (
        {}, {"com.docker.network.bridge.name": "a/b"}, {"com.docker.network.bridge.name": "x" * 16},
        {"com.docker.network.bridge.name": "eth0"}, {"com.docker.network.bridge.name": "lo"},
        {"com.docker.network.driver.mtu": "x"}, {"com.docker.network.driver.mtu": "-5"},
        {"com.docker.network.bridge.host_binding_ipv4": "x"}, {"type": "tmpfs", "device": "tmpfs", "o": "size=x"},
        {"type": "none", "o": "bind", "device": "/no/such"}, {"type": "ext4"}, {"device": "../.."}, {"size": "10x"},
    ),
    "DetachKeys": ("", "ctrl-a", "ctrl-", "abc"),
    "CpusetCpus": ("", "0", "0-1", "999", "x", "1-0"),
    "CpusetMems": ("", "0", "99", "x"),
    "Name": ("fresh", "victim", "kept", "net", "../x", "a/b"),
}  # fmt: skip


def body(document: Document, schema: Mapping[str, Any]) -> SearchStrategy[Any]:
    """A value that is nearly what the schema wants: most fields usual, some hostile, some unknown, some twice."""
    return _value(document, schema, "", 0)


@st.composite
def _value(draw: DrawFn, document: Document, schema: Mapping[str, Any], name: str, depth: int) -> Any:
    if name:
        chance = draw(st.integers(0, 9))
        if chance == 9:
            return draw(anything)
        if chance < 6 and name in USUAL:
            return draw(st.sampled_from(USUAL[name]))
    schema = document.resolve(schema)
    match schema.get("type"):
        case "object" if "properties" in schema:
            names = sorted(schema["properties"])
            chosen = draw(st.lists(st.sampled_from(names), max_size=4 if depth < 2 else 2))
            if "Image" in names and draw(st.integers(0, 9)):
                chosen += ["Image", "Cmd"]
            pairs = [(key, draw(_value(document, schema["properties"][key], key, depth + 1))) for key in chosen]
            if draw(st.integers(0, 9)) == 0:
                pairs.append((draw(strings), draw(scalars)))
            if pairs and draw(st.integers(0, 9)) == 0:
                pairs.append((pairs[0][0].swapcase(), draw(scalars)))
            return Members(tuple(pairs))
        case "object":
            inner = schema.get("additionalProperties")
            kind = inner if isinstance(inner, dict) else {}
            keys = draw(st.lists(strings, max_size=2))
            return Members(tuple((key, draw(_value(document, kind, "", depth + 1))) for key in keys))
        case "array":
            inner = schema.get("items")
            kind = inner if isinstance(inner, dict) else {}
            return [draw(_value(document, kind, "", depth + 1)) for _ in range(draw(st.integers(0, 2)))]
        case "integer":
            return draw(integers)
        case "number":
            return draw(st.one_of(integers, st.floats(allow_nan=False, allow_infinity=False)))
        case "boolean":
            return draw(st.booleans())
        case "string":
            return draw(strings)
        case _:
            return draw(anything)
