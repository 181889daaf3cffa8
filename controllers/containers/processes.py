"""``docker top``: the host's ps(1), cut to the processes of a container."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Collection

from store.errors import EngineError, InvalidParameterError

TIMEOUT = 20.0
_TITLED_PID = re.compile(r"[\s,]([^\s,]*)=\s*(PID\S*)")


def parse(text: str, pids: Collection[int]) -> tuple[list[str], list[list[str]]]:
    """The titles and the rows of the processes asked for, the last column with its blanks kept.

    InvalidParameterError in dockerd's words when the output has no PID column or a broken one.
    """
    lines = text.split("\n")
    titles = lines[0].split()
    if "PID" not in titles:
        raise InvalidParameterError("Couldn't find PID field in ps output")
    place = titles.index("PID")
    rows: list[list[str]] = []
    following = False
    for line in lines[1:]:
        if not line:
            continue
        fields = line.split()
        # Threads of the process before, with -m or -T.
        if following and fields[place] == "-":
            rows.append(_row(fields, len(titles)))
            continue
        if not fields[place].isdigit():
            raise InvalidParameterError(
                f"Unexpected pid '{fields[place]}': strconv.Atoi: parsing \"{fields[place]}\": invalid syntax"
            )
        following = int(fields[place]) in pids
        if following:
            rows.append(_row(fields, len(titles)))
    return titles, rows


def _row(fields: list[str], width: int) -> list[str]:
    return [*fields[: width - 1], " ".join(fields[width - 1 :])]


def check_arguments(text: str) -> list[str]:
    """ps arguments as words. InvalidParameterError for another column titled PID: its numbers would choose the rows."""
    for column, title in _TITLED_PID.findall(" " + text):
        if column.lower() != "pid":
            raise InvalidParameterError(f'specifying "{column}={title}" is not allowed')
    return text.split()


async def top(arguments: str, pids: Collection[int]) -> tuple[list[str], list[list[str]]]:
    """Run ps with a client's arguments (empty: ``-ef``). InvalidParameterError with ps' own words when it refuses."""
    words = check_arguments(arguments or "-ef")
    # Asking for the few processes is cheaper; but options that select otherwise come together with it as a union.
    code, output, error = await _ps([*words, "-q", ",".join(map(str, pids))]) if pids else (1, "", "")
    if code:
        code, output, error = await _ps(words)
    if code:
        raise InvalidParameterError("ps: " + error.strip().partition("\n")[0])
    return parse(output, pids)


async def _ps(arguments: list[str]) -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(
        "ps",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath)},
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            output, error = await child.communicate()
    except TimeoutError as reason:
        child.kill()
        raise EngineError("ps did not end in time") from reason
    return child.returncode or 0, output.decode("utf-8", "replace"), error.decode("utf-8", "replace")
