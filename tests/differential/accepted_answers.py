"""Where our answers over the API differ from dockerd's on purpose, and why; ``command`` is the operation."""

from __future__ import annotations

from tests.differential.accepted import Accepted

DIFFERENCES = (
    Accepted(r"", r"^header server: .*", "each names itself", "header server: …"),
    Accepted(
        r"^SystemVersion$",
        r"\A(status 400\n(?:.*\n)*)header docker-experimental: .*\n",
        "also the refusal of a version that is too new has all of our usual headers",
        r"\1",
    ),
    Accepted(
        r"^Container(Create|Update)$",
        r"^message = \"(EOF|got EOF while reading request body)\"",
        "that there is no body is told in the same words everywhere",
    ),
    Accepted(
        r"^Container(Logs|Stats)$",
        r"^header content-type: .*\n",
        "the type of a stream, which the API's text promises; dockerd names none",
        "",
    ),
    Accepted(
        r"^ContainerAttach(Websocket)?$",
        r"\A(status 4\d\d\n)(?:header .*\n)*(?:(?:body|raw): '|message = \")(.*?)(?:\\r\\n)?['\"]$",
        "before a connection is taken over, an error is an answer like any other; dockerd writes its text raw",
        r"\1\2",
    ),
    Accepted(
        r"^ContainerAttachWebsocket$",
        r"^header (api-version|date|docker-experimental|ostype|server): .*\n",
        "the handshake is an answer of HTTP and has the headers of all",
        "",
    ),
    Accepted(
        r"^ContainerList$",
        r"^\[\d+\]\.Ports\[\d+\]\.(IP = \"::\"\n(.*\n){2}.*\n)",
        "IPv6 comes later",
        "",
    ),
    Accepted(
        r"^Network(Inspect|List)$",
        r"^((\[\d+\]\.)?IPAM\.Config\[0\]\.Gateway) = \"172\.17\.0\.1\"\n",
        "the default bridge's gateway is known and said",
        "",
    ),
    Accepted(
        r"^ImageCreate$",
        r"Error processing tar file\(exit status 1\): ",
        "what unpacks is no process of its own that could fail with a status",
        "",
    ),
    Accepted(
        r"^ImageGet(All)?$",
        r"^member [0-9a-f]{64}(?=[ /])",
        "the directory of a layer is named after its chain, in dockerd after what was once a version 1 image",
        "member <layer>",
    ),
    Accepted(
        r"^ImageGet(All)?$",
        r"^member <layer>/json .*\n",
        "what clients before Docker 1.10 needed of an archive is left out",
        "",
    ),
    Accepted(
        r"^(Container|Image)Inspect$",
        r"^GraphDriver\.Data\.\w+ = .*\n",
        "where layers lie: ours are named at random and shared read-only, dockerd's have a directory pair for each",
        "",
    ),
    Accepted(r"^ContainerInspect$", r"[^/]*-json\.log\"|(?<=/)log\"", "the log is conmon's, in its format", 'LOG"'),
    Accepted(
        r"^ContainerInspect$",
        r"^(NetworkSettings\.Sandbox(?:ID|Key)) = .*",
        "a sandbox is a namespace named after its container, and gone with it; dockerd keeps the last one's name",
        r"\1 = <sandbox>",
    ),
    Accepted(
        r"^Network(Inspect|List)$",
        r"^((?:\[\d+\]\.)?Options\.com\.docker\.network\.bridge\.name) = .*",
        "each engine's links carry its own prefix, so that two engines never meet",
        r"\1 = <name>",
    ),
    Accepted(
        r"^SystemVersion$",
        r"^(BuildTime|GitCommit|GoVersion|Version|MinAPIVersion|Platform.*|Components.*) = .*\n?",
        "each tells its own version and the parts that it is made of; versions below 1.24 are not served",
        "",
    ),
    Accepted(
        r"^SystemInfo$",
        r"^(Containerd|Init|ServerVersion|LiveRestore|Plugins\.(Log|Network)|Runtimes).* = .*\n",
        "each tells its own parts, drivers and version; our containers always outlive the daemon",
        "",
    ),
    Accepted(
        r"^ImageInspect$",
        r"^DockerVersion = \"20\.10\.24.*\"",
        "an imported image names the Docker version that we answer like, without Debian's suffix",
    ),
    Accepted(
        r"^$",
        r"^(status 40[45]|header (?!length).*|(body: |message = ).*)\n?",
        "what is no operation: a method that a path lacks is 405 with those it has, each answer has our usual headers "
        "and is JSON, and versions below 1.24 are not served",
        "",
    ),
    Accepted(
        r"^ContainerInspect$",
        r"^HostConfig\.Runtime = \"runc\"\n",
        "the runtime is known from the creation on; dockerd, asked without a HostConfig, fills it in at the start",
        "",
    ),
)


def without_accepted(operation: str, text: str) -> str:
    """The text with all accepted differences taken out."""
    for difference in DIFFERENCES:
        text = difference.apply(operation, text)
    return text
