"""The description of the API holds for the routes, their parameters and what they really answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from docs.generate.openapi import openapi
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.state import State
from queuectl_nb.web.api_handlers import NotFoundHandler
from queuectl_nb.web.base_handler import JsonHandler
from queuectl_nb.web.query_params import parse_query
from queuectl_nb.web.routes import ROUTES
from tests.engine.harness import until

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness
    from tests.web.server import WebServer

ROUTES = {
    pattern.replace("(?P<job_id>[^/]+)", "{job_id}"): handler
    for pattern, handler, _ in ROUTES
    if issubclass(handler, JsonHandler) and handler is not NotFoundHandler
}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """Return the description."""
    return openapi()


def check(described: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Hold a value against a schema of the description."""
    resource: Any = Resource.from_contents({"$schema": "https://json-schema.org/draft/2020-12/schema", **described})
    registry: Any = Registry().with_resource("urn:api", resource)
    inside = _absolute(schema)
    Draft202012Validator(inside, registry=registry, format_checker=FormatChecker()).validate(value)


def _absolute(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: f"urn:api{each}" if key == "$ref" and each.startswith("#") else _absolute(each)
            for key, each in value.items()
        }
    return [_absolute(each) for each in value] if isinstance(value, list) else value


def test_every_route_is_described_and_no_other(described: dict[str, Any], server: WebServer) -> None:
    """Paths are the API's routes, methods GET, and the server sends this very document."""
    assert set(described["paths"]) == set(ROUTES)
    assert {method for path in described["paths"].values() for method in path} == {"get"}
    assert server.ask("/api/openapi.json").json == described
    for schema in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(_absolute(schema))


@pytest.mark.parametrize("path", ROUTES)
def test_parameters_are_those_that_are_taken(described: dict[str, Any], path: str) -> None:
    """Each described parameter is taken and no other; defaults and bounds are the real ones."""
    params = ROUTES[path].params
    parameters = described["paths"][path]["get"].get("parameters", [])
    told = {each["name"]: each["schema"] for each in parameters if each["in"] == "query"}
    assert list(told) == list(params)
    for name, schema in told.items():
        assert parse_query(params, {})[name] == schema.get("default")
        for value in (*schema.get("enum", ()), *(schema[key] for key in ("minimum", "maximum") if key in schema)):
            assert parse_query(params, {name: [str(value).encode()]})[name] == value
        for beyond in (schema.get("minimum", 0) - 1, schema.get("maximum", 2**70) + 1):
            if schema.get("type") == "integer":
                with pytest.raises(BadInput):
                    parse_query(params, {name: [str(beyond).encode()]})


def test_real_answers_have_the_described_shapes(
    described: dict[str, Any], server: WebServer, harness: WorkerHarness
) -> None:
    """With jobs that ran, failed and run, every route's answer fits its schema, and an error fits its own."""
    harness.queue.set("backoff_base", "1000")
    harness.add("echo hello; exit 2", id="a", tags=["t"], max_retries=2)
    harness.add("echo '[1]' > $QUEUECTL_RESULT", id="b", timeout=1.5)
    harness.add("sleep 60", id="c", after=["b"])
    harness.start()
    until(
        lambda: (
            harness.queue.store.reader.counts()[State.PROCESSING] and harness.queue.store.reader.counts()[State.FAILED]
        )
    )
    queries = {
        "/api/jobs": "?limit=2",
        "/api/jobs/{job_id}/log": "?stream=stderr",
    }
    for path in ROUTES:
        if path == "/api/events":
            continue
        content = described["paths"][path]["get"]["responses"]["200"]["content"]
        for job_id in ("a", "b", "c") if "{job_id}" in path else ("",):
            got = server.ask(path.replace("{job_id}", job_id) + queries.get(path, ""))
            assert got.status == 200
            (kind,) = content
            assert got.headers["Content-Type"].startswith(kind)
            check(described, content[kind]["schema"], got.json if kind == "application/json" else got.body.decode())
    for target, code in (("/api/jobs?x=1", "400"), ("/api/jobs/nobody", "404")):
        (shape,) = described["components"]["responses"][code]["content"].values()
        check(described, shape["schema"], server.ask(target).json)
