"""The operations to be challenged, out of the engine's own OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Operation:
    """One delivered operation; ``query`` are the names and kinds of its parameters, ``schema`` is its body's."""

    name: str
    method: str
    template: str
    query: tuple[tuple[str, str], ...]
    schema: Mapping[str, Any] | None

    @property
    def kind(self) -> str:
        """Which kind of thing the path names: containers, images, …"""
        return self.template[1:].partition("/")[0]

    @property
    def parts(self) -> list[str]:
        """The path, cut at its parameters: an odd part is one."""
        return re.split(r"\{\w+\}", self.template)


@dataclass(frozen=True)
class Document:
    """The delivered operations, and the schemas that they refer to."""

    operations: tuple[Operation, ...]
    schemas: Mapping[str, Any]

    def resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema itself, or what it refers to; of alternatives the first that is more than null."""
        while True:
            if "$ref" in schema:
                schema = self.schemas[schema["$ref"].rpartition("/")[2]]
            elif "anyOf" in schema:
                schema = next(choice for choice in schema["anyOf"] if choice.get("type") != "null")
            else:
                return schema


def read(document: Mapping[str, Any]) -> Document:
    """Operations that answer more than "not implemented" and are about the engine, in the document's order."""
    return Document(tuple(_operations(document)), document["components"]["schemas"])


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for template, methods in document["paths"].items():
        for method, described in methods.items():
            if "501" in described["responses"]:
                continue
            body = described.get("requestBody", {}).get("content", {}).get("application/json", {})
            yield Operation(
                name=described["operationId"],
                method=method.upper(),
                template=template,
                query=tuple((p["name"], p["schema"]["type"]) for p in described["parameters"] if p["in"] == "query"),
                schema=body.get("schema"),
            )
