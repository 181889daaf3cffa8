"""The rooms' doors open one way: apiserver → store ← controllers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
ROOMS = ("apiserver", "controllers", "store", "migrations")

# Which room may import from which other. The API server needs the controllers' drivers for streams alone (attach, exec,
# logs, archives, image bodies); all else that joins the two is its composition.
ALLOWED = (
    ("apiserver", "store"),
    ("controllers", "store"),
    ("migrations", "store"),
    ("apiserver", "controllers"),
)

# Where things lie, and execs: an operation has no row, so what is shown of one is its driver's record.
WIRE_KNOWS = ("controllers.layout.", "controllers.containers.execs.Exec")


def sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((PROJECT / room).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, with the imported name appended for ``from x import y``."""
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ROOMS)


def violations(module: str, imported: str) -> bool:
    room, other = module.split(".")[0], imported.split(".")[0]
    return room != other and (room, other) not in ALLOWED


def test_no_room_imports_against_the_grain() -> None:
    wrong = [
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in sources()
        for name in imports(path)
        if violations(module_of(path), name)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("store.feed", "controllers.manager"),
        ("store.feed", "apiserver.server"),
        ("controllers.containers.reconcile", "apiserver.timestamps"),
        ("migrations.env", "controllers.layout"),
    ],
)
def test_a_step_against_the_grain_is_noticed(module: str, imported: str) -> None:
    assert violations(module, imported)


def test_wire_and_admission_know_neither_the_host_nor_sql() -> None:
    wrong = [
        f"{path.relative_to(PROJECT)} imports {name}"
        for folder in ("wire", "admission")
        for path in sorted((PROJECT / "apiserver" / folder).rglob("*.py"))
        for name in imports(path)
        if name.startswith(("controllers.", "store.database", "store.tables", "store.statements"))
        and not name.startswith(WIRE_KNOWS)
    ]
    assert not wrong, "\n".join(wrong)
