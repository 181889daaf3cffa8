"""Where our answers differ from dockerd's on purpose: each with its reason, and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Accepted:
    """A difference: what matches ``pattern`` is replaced by ``by`` in both outputs of the commands it is about."""

    command: str
    pattern: str
    reason: str
    by: str = "<accepted>"

    def apply(self, command: str, text: str) -> str:
        """The text without the difference."""
        return re.sub(self.pattern, self.by, text, flags=re.MULTILINE) if re.search(self.command, command) else text


DIFFERENCES = (
    Accepted(
        r"inspect",
        r"^ *\"(Lower|Merged|Upper|Work)Dir\": .*\n",
        "where layers lie: ours are named at random and shared read-only, dockerd's have a directory pair for each",
        "",
    ),
    Accepted(r"inspect", r"[^/]*-json\.log\"|(?<=/)log\"", "the log is conmon's, in its k8s-file format", 'LOG"'),
    Accepted(
        r"inspect",
        r"(\"Sandbox(?:ID|Key)\": )\".*\"",
        "a sandbox is a namespace named after its container",
        r"\1<sandbox>",
    ),
    Accepted(
        r"inspect bridge",
        r"\"com.docker.network.bridge.name\":\"\w+\"",
        "each engine's links carry its own prefix, so that two engines never meet",
    ),
    Accepted(r"inspect bridge", r",\"Gateway\":\"[0-9.]+\"", "the default bridge's gateway is known and said", ""),
    Accepted(
        r"^run .*--network n1 .*(resolv.conf|nslookup)|^run .*nslookup",
        r"127\.0\.0\.11(:53)?|10\.44\.0\.254(:53)?",
        "names are answered at the bridge's address, by a server that outlives the daemon",
    ),
    Accepted(r"^(port|ps|inspect) ", r"^80/tcp -> :::8080\n|^\d+/\w+ -> :::\d+\n|^:::\d+\n", "IPv6 comes later", ""),
    Accepted(r"^ps ", r"(, )?:::[\d-]+->[\d-]+/\w+", "IPv6 comes later", ""),
    Accepted(
        r"run --rm busybox unshare",
        r"^unshare: .*\n",
        "Debian's maintained seccomp profile lets a container make user namespaces; dockerd's own of 20.10 does not",
        "",
    ),
    Accepted(
        r"^run --rm busybox mount",
        r"^mount: .*",
        "the same profile leaves mount to the capabilities: the refusal is the kernel's",
    ),
    Accepted(
        r"nosuchimage|busybox@sha256",
        r"dial tcp: lookup .*",
        "the resolver's words, without the address of the name server that it asked",
    ),
    Accepted(
        r"--ipc nonsense|max-size=x",
        r"(failed to initialize logging driver: )?[Ii]nvalid (IPC mode|size): ([^.\n]*)\.(\nSee 'docker .*)?",
        "refused when it is created, where dockerd finds out at the start and leaves a container behind",
        r"invalid \2: \3",
    ),
    Accepted(r"--gpus", r"\nSee 'docker .*", "refused when it is created, not when it is started", ""),
    Accepted(
        r"docker load",
        r"^(Error processing tar file.*|open .*repositories: no such file.*|Error response from daemon: .*)",
        "what is no image archive is refused with a status of its own, and says what is missing",
    ),
    Accepted(r"^version", r"(?<= )1\.(12|24)(?= )", "versions below 1.24 are not served"),
    Accepted(
        r"^info .*LiveRestoreEnabled", r"(?<=inactive false )(true|false)", "containers always outlive the daemon"
    ),
    Accepted(
        r"^(node|service|secret|stack) ls",
        r"Error response from daemon: .*",
        "swarm mode comes later, and says so",
    ),
)


def without_accepted(command: str, text: str) -> str:
    """The text with all accepted differences taken out."""
    for difference in DIFFERENCES:
        text = difference.apply(command, text)
    return text
