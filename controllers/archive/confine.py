"""Confining a process to a tree, and laying mounts into the tree that only this process sees."""

from __future__ import annotations

import os
import stat

from controllers.archive.kernel import attach_mount, cloned_mount, private_mount_namespace


def confine(root: str, mounts: list[tuple[str, str]]) -> None:
    """Make ``root`` this process's root and working directory; first lay each (source, destination) into it.

    The mounts are seen by this process alone. Destinations are paths inside the root, resolved there, and made when
    missing. Sources that do not exist are passed over.

    Raises:
        OSError: the root does not exist, or the kernel refuses.
    """
    trees: list[tuple[int, str]] = []
    if mounts:
        private_mount_namespace()
        for source, destination in mounts:
            tree = cloned_mount(source)
            if tree is not None:
                trees.append((tree, destination))
    os.chdir(root)
    os.chroot(".")
    for tree, destination in trees:
        make_place(destination, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
        attach_mount(tree, destination)
        os.close(tree)


def make_place(path: str, *, directory: bool) -> None:
    """What a mount can be laid on, if there is nothing yet."""
    if os.path.exists(path):
        return
    os.makedirs(path if directory else os.path.dirname(path), 0o755, exist_ok=True)
    if not directory:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o755))
