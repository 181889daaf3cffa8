"""The helper process: waits for requests from the daemon and forks a child for each.

A request is one message of a SEQPACKET socket: JSON with the job's name, and with it the descriptors, the first of
them the child's end of a socket over which the result goes back. When the daemon lets go of its end, the kernel sends
the child SIGIO, which ends it wherever it is: so a job never outlives the daemon or the request that asked for it.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket

from controllers.archive.failures import classify
from controllers.archive.jobs import JOBS

LARGEST_MEMORY = 4 << 30
LONGEST_REQUEST = 1 << 18
MOST_DESCRIPTORS = 8


def receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """One request with its descriptors; nothing when the daemon is gone."""
    size = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
    data, ancillary, _, _ = control.recvmsg(LONGEST_REQUEST, size, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, list(descriptors)


def die_with(result: socket.socket) -> None:
    """Have the kernel end this process when the other end of ``result`` is closed or shut."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(result, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(result, fcntl.F_SETFL, fcntl.fcntl(result, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(result, select.POLLIN | select.POLLHUP)
    if poll.poll(0):
        os._exit(1)


def work(data: bytes, descriptors: list[int]) -> None:
    """Do one job in this (forked) process and send the result."""
    result = socket.socket(fileno=descriptors[0])
    result.setblocking(True)
    die_with(result)
    for descriptor in descriptors[1:]:
        os.set_blocking(descriptor, True)
    try:
        request = json.loads(data)
        answer = JOBS[request["job"]](request, *descriptors[1:])
    except BaseException as error:
        failure = classify(error)
        answer = {"error": type(failure).__name__, "message": failure.message}
    for descriptor in descriptors[1:]:
        try:
            os.close(descriptor)
        except OSError:
            continue
    fcntl.fcntl(result, fcntl.F_SETFL, fcntl.fcntl(result, fcntl.F_GETFL) & ~os.O_ASYNC)
    result.sendall(json.dumps(answer).encode())


def serve(descriptor: int) -> None:
    """Fork a child for each request that comes over the socket, until the daemon closes its end."""
    control = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.umask(0)
    # What a hostile archive makes grow is to die before anything else does.
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    memory = LARGEST_MEMORY if hard == resource.RLIM_INFINITY else min(LARGEST_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("500")
    # Children live short: a collection in them would only copy pages.
    gc.freeze()
    gc.disable()
    while True:
        data, descriptors = receive(control)
        if not data:
            return
        if not descriptors:
            continue
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            try:
                control.close()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                work(data, descriptors)
            finally:
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
