"""What ``deploy/run`` tells a newcomer when the daemon is ready."""

from __future__ import annotations

from collections.abc import Sequence

from apiserver.config import DEFAULT_SOCKET

VARIABLE = "WHARFINGER_SCRIPTS"
"""Names the directory of the scripts to suggest; set by ``deploy/run``, absent under systemd."""


def greeting(addresses: Sequence[str], scripts: str) -> str:
    """The lines to print: where the daemon listens (``addresses``, as DOCKER_HOST has them) and what to type next."""
    address = addresses[0]
    usual = f"unix://{DEFAULT_SOCKET}"
    prefix = "" if address == usual else f"DOCKER_HOST={address} "
    return "\n".join(
        (
            "",
            f"Wharfinger is ready on {', '.join(addresses)}. In another shell, try:",
            "",
            f"    {prefix}{scripts}/sample-image",
            f"    {prefix}{scripts}/docker run -it --rm busybox",
            "",
            "Ctrl-C stops the daemon; containers run on and are there when it comes back.",
            "",
        )
    )
