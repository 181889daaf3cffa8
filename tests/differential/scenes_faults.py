"""What the command line passes on of refusals that no other scene meets."""

from __future__ import annotations

from tests.differential.script import Scene

SCENES = [
    Scene(
        "names and ids",
        [
            "create --name aa busybox true",
            "create --name aa busybox true",
            "create --name /a busybox true",
            "create --name -a busybox true",
            "create --name 'a b' busybox true",
            "create --name xx busybox true",
            "create --name '' busybox true",
            "inspect -f {{.Name}} ''",
            "inspect -f {{.Name}} zzzz",
            "rm ''",
            "rm /xx",
            "container inspect /x -f {{.Name}}",
        ],
    ),
    Scene(
        "what is delivered later says so or is refused",
        [
            "node ls",
            "service ls",
            "secret ls",
            "stack ls",
        ],
    ),
]
