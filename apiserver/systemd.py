"""systemd: telling it how we are, asking it how the machine is, and taking the sockets that it holds for us.

Sources: sd_notify(3), sd_listen_fds(3), systemctl(1).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import MutableMapping

_FIRST_FD = 3
_ANSWER_WITHIN = 10.0


def notify(*assignments: str) -> None:
    """Sends ``READY=1``, ``STOPPING=1``, ``STATUS=…`` and the like; does nothing where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto("\n".join(assignments).encode(), address)
        except OSError:
            # Nobody's readiness protocol is worth failing for.
            return


async def machine_stops() -> bool:
    """Whether systemd is taking the machine down, for a reboot or for good; False where there is no systemd."""
    try:
        async with asyncio.timeout(_ANSWER_WITHIN):
            child = await asyncio.create_subprocess_exec(
                "systemctl",
                "is-system-running",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            output, _ = await child.communicate()
    except (OSError, TimeoutError):
        return False
    return output.strip() == b"stopping"


def activated_sockets(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that systemd opened for this process, if any.

    The variables are taken away, so that no child believes that they are meant for it.
    """
    pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    sockets = []
    for descriptor in range(_FIRST_FD, _FIRST_FD + int(count)):
        os.set_inheritable(descriptor, False)
        sockets.append(socket.socket(fileno=descriptor))
    return sockets
