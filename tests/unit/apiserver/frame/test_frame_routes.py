"""Routes, credentials, failures, metrics and logs: what needs no server."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from apiserver.bodies import BodyTooLargeError
from apiserver.dispatch import Call, MethodNotAllowedError, Route, Router
from apiserver.exposition import exposition
from apiserver.logs import JsonFormatter, TextFormatter
from apiserver.middleware.errors import STATUSES, respond, status_of
from apiserver.middleware.metrics import Observation
from apiserver.session import parse_registry_auth
from apiserver.wire.versions import CHANGES, CURRENT, MINIMUM, has
from store import errors
from store.errors import ConflictError, EngineError, InvalidParameterError, NotFoundError


async def nothing(call: Call) -> web.StreamResponse:
    raise NotImplementedError


def route(method: str, path: str) -> Route:
    return Route(method, path, nothing, f"{method}{path}")


def test_a_name_may_have_slashes_where_the_route_says_so() -> None:
    router = Router([route("GET", "/images/{name:.+}/json"), route("GET", "/images/json")])
    found, parameters = router.find("GET", "/images/localhost:5000/a/b/json")
    assert (found.template, dict(parameters)) == ("/images/{name}/json", {"name": "localhost:5000/a/b"})
    assert router.find("GET", "/images/json")[0].template == "/images/json"


def test_an_escaped_slash_is_part_of_a_name() -> None:
    router = Router([route("GET", "/images/{name:.+}/json")])
    assert router.find("GET", "/images/a%2Fb/json")[1]["name"] == "a/b"


def test_a_path_with_a_newline_matches_as_a_whole_or_not_at_all() -> None:
    router = Router([route("GET", "/a/{id}")])
    assert router.find("GET", "/a/x%0Ay")[1]["id"] == "x\ny"
    with pytest.raises(NotFoundError):
        router.find("GET", "/a/x/y%0A")


def test_the_same_operation_cannot_be_there_twice() -> None:
    with pytest.raises(ValueError, match="two routes"):
        Router([route("GET", "/a"), route("GET", "/a")])


def header(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def test_credentials_are_base64url_of_json_padded_or_not() -> None:
    encoded = header({"username": "u>>>?", "password": "p", "serveraddress": "s", "identitytoken": "t"})
    for text in (encoded, encoded.rstrip("=")):
        found = parse_registry_auth(text)
        assert found is not None
        assert (found.username, found.password, found.server_address, found.identity_token) == ("u>>>?", "p", "s", "t")
    assert parse_registry_auth("") is None
    anonymous = parse_registry_auth(header({}))
    assert anonymous is not None
    assert anonymous.username == ""


@pytest.mark.parametrize(
    "text", ["!!!", "abcde", header([]), header({"username": 3}), base64.b64encode(b"no json").decode()]
)
def test_credentials_that_are_none_are_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"^invalid X-Registry-Auth header") as refused:
        parse_registry_auth(text)
    assert text not in str(refused.value)


def kinds() -> Iterator[type[EngineError]]:
    yield from (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EngineError))


def test_every_kind_of_failure_has_a_status_of_its_own() -> None:
    assert set(kinds()) <= set(STATUSES)
    assert len(set(STATUSES.values())) == len(STATUSES)


def test_a_failure_of_a_derived_kind_counts_as_its_nearest_base() -> None:
    class NameTaken(ConflictError):
        pass

    assert status_of(NameTaken("x")) == 409
    assert status_of(BodyTooLargeError("x")) == 413


def test_answers_to_failures_say_what_may_be_done() -> None:
    assert respond(MethodNotAllowedError({"POST", "GET"})).headers["Allow"] == "GET, POST"
    assert respond(web.HTTPNotFound()).status == 404


def test_requests_are_counted_by_template_and_strange_methods_together() -> None:
    for method in ("BREW", "SPILL"):
        with Observation(method) as observation:
            observation.route, observation.code = "/test/{id}", 418
    text = exposition().decode()
    assert 'http_requests_total{code="418",method="other",route="/test/{id}"} 2.0' in text
    assert "BREW" not in text


def test_a_client_that_left_is_counted_so() -> None:
    with contextlib.suppress(KeyError), Observation("GET") as observation:
        observation.route = "/left"
        raise KeyError
    assert 'http_requests_total{code="499",method="GET",route="/left"} 1.0' in exposition().decode()


def test_every_metric_is_explained_once() -> None:
    lines = exposition().decode().splitlines()
    helps = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert len(helps) == len(set(helps))
    assert {"http_requests_total", "http_request_duration_seconds", "workqueue_depth"} <= set(helps)


def test_log_lines_are_text_or_json_with_what_they_carry() -> None:
    record = logging.makeLogRecord({"name": "n", "levelname": "INFO", "msg": "a %s", "args": ("b",), "route": "/x"})
    assert TextFormatter().format(record).endswith("Z INFO n: a b")
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["logger"], line["msg"], line["route"]) == ("info", "n", "a b", "/x")


def test_every_change_lies_between_the_floor_and_the_ceiling_and_makes_a_difference_somewhere() -> None:
    project = Path(__file__).resolve().parents[4]
    code = "".join(file.read_text() for file in (project / "apiserver").rglob("*.py") if file.name != "versions.py")
    for name, change in CHANGES.items():
        assert MINIMUM <= change.since <= CURRENT
        assert f'"{name}"' in code, name


def test_versions_are_told_apart_by_the_table_alone() -> None:
    project = Path(__file__).resolve().parents[4]
    for file in (project / "apiserver").rglob("*.py"):
        assert not re.search(r"(version|api) *[<>]=? *\(1,", file.read_text().replace("call.version >= (1, 40)``", ""))
    assert has((1, 30), "wait.condition")
    assert not has((1, 29), "wait.condition")
