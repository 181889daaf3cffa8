"""The document and its page."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from aiohttp import web

from apiserver import documentation
from apiserver.dispatch import Call, Parameter, Route
from apiserver.routes import undelivered
from apiserver.wire.containers import ContainerInspect, CreateRequest, CreateResponse


async def nothing(call: Call) -> web.StreamResponse:
    raise NotImplementedError


ROUTES = [
    Route(
        "POST",
        "/containers/create",
        nothing,
        "ContainerCreate",
        summary="Make <one>.",
        request=CreateRequest,
        response=CreateResponse,
        status=201,
        parameters=(Parameter("name", summary="Its name."),),
    ),
    Route("GET", "/containers/{id}/json", nothing, "ContainerInspect", response=ContainerInspect),
    Route("GET", "/images/{name:.+}/json", nothing, "ImageInspect", response=list[ContainerInspect]),
    *undelivered.routes(None),  # type: ignore[arg-type]
]


@pytest.fixture
async def document() -> dict[str, Any]:
    response = await documentation.routes(ROUTES)[0].handler(None)  # type: ignore[arg-type]
    assert isinstance(response, web.Response)
    return msgspec.json.decode(response.body, type=dict[str, Any])  # type: ignore[arg-type]


@pytest.fixture
async def page() -> str:
    response = await documentation.routes(ROUTES)[1].handler(None)  # type: ignore[arg-type]
    assert isinstance(response, web.Response)
    return response.text or ""


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if "$ref" in value else set()
        return found.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


async def test_every_operation_is_described_once(document: dict[str, Any]) -> None:
    operations = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == len(set(operations))
    assert {route.operation for route in ROUTES} < set(operations)
    assert "OpenAPI" in operations


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document)
    assert references(document) <= known


async def test_paths_are_templates_whose_parameters_are_described(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        assert ":" not in path
        for operation in operations.values():
            described = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
            assert described == set(re.findall(r"{(\w+)}", path))


async def test_types_have_dockers_names(document: dict[str, Any]) -> None:
    assert "HostConfig" in document["components"]["schemas"]["CreateRequest"]["properties"]
    create = document["paths"]["/containers/create"]["post"]
    assert create["responses"]["201"]["content"]["application/json"]["schema"]["$ref"].endswith("/CreateResponse")


async def test_what_is_not_delivered_says_so(document: dict[str, Any]) -> None:
    assert set(document["paths"]["/swarm"]["get"]["responses"]) == {"501"}


async def test_the_page_loads_nothing_and_hides_nothing(page: str) -> None:
    assert not re.search(r"<(script|link|img|iframe|object)|src=|url\(|@import|https?://", page)
    for route in ROUTES:
        assert f"<code>{route.template}</code>" in page
    assert "Make &lt;one&gt;." in page


async def test_every_link_of_the_page_leads_somewhere(page: str) -> None:
    targets = set(re.findall(r"id='?([\w.\-\[\]]+)'?", page))
    assert set(re.findall(r"href='#([^']+)'", page)) <= targets
