"""The docker command line's daily session: each command and flag of it is typed in some scene or terminal test."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.test_cli import ALL

SESSION = {
    "version": "", "info": "", "pull": "", "load": "", "images": "", "tag": "", "history": "", "rmi": "", "import": "",
    "save": "",
    "run": "-d -i -t -it --rm --name -e -v -p -w -u --entrypoint --network --restart --memory --cpus --pids-limit "
    "--read-only --tmpfs --cap-add --cap-drop --hostname --init --label --ulimit --add-host --link --dns --log-opt",
    "ps": "--filter --size --no-trunc",
    "logs": "-f --tail --since --until -t",
    "exec": "-d -it -e -u -w",
    "attach": "--detach-keys",
    "stop": "", "start": "", "restart": "", "kill": "", "wait": "", "rename": "", "rm": "", "inspect": "", "top": "",
    "stats": "", "cp": "", "diff": "", "events": "",
    "volume create": "", "volume ls": "", "volume inspect": "", "volume rm": "", "volume prune": "",
    "network create": "--subnet --gateway", "network ls": "", "network inspect": "", "network rm": "",
    "network prune": "",
    "system df": "", "system info": "", "system events": "", "system prune": "",
}  # fmt: skip
SAME = {"-m": "--memory", "-l": "--label", "-h": "--hostname", "-n": "--tail", "-s": "--size"}
GROUPS = ("volume", "network", "system", "container", "image")
TERMINAL = Path(__file__).parents[1] / "integration" / "cli" / "test_terminal.py"


def lines() -> Iterator[list[str]]:
    """Every docker command that is typed, as words."""
    for scene in ALL:
        for item in scene.steps:
            words = item if isinstance(item, str) else item.words
            if isinstance(item, str) or not item.shell:
                yield shlex.split(words)
            else:
                yield from (found.split() for found in re.findall(r"docker ([^|;&)]*)", words))
    for call in re.findall(r"at_terminal\(([^)]*)\)", TERMINAL.read_text()):
        yield re.findall(r'"([^"]*)"', call)


def typed() -> dict[str, set[str]]:
    """The flags that were typed with each command."""
    found: dict[str, set[str]] = {}
    for words in lines():
        if not words:
            continue
        count = 2 if words[0] in GROUPS and len(words) > 1 else 1
        flags = found.setdefault(" ".join(words[:count]), set())
        for word in words[count:]:
            if word.startswith("-"):
                flag = word.partition("=")[0]
                flags |= {flag, SAME.get(flag, flag)}
    return found


@pytest.mark.parametrize("command", SESSION)
def test_a_command_of_the_session_is_played_with_its_flags(command: str) -> None:
    known = typed()
    assert command in known
    assert [flag for flag in SESSION[command].split() if flag not in known[command]] == []
