"""The OpenAPI description matches the routes, their parameters and real responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from docs.generate.openapi import openapi
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.state import State
from queuectl_nb.web.base_handler import JsonHandler
from queuectl_nb.web.handlers import ROUTES, NotFoundHandler
from queuectl_nb.web.query_params import parse_query
from tests.engine.harness import until

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness
    from tests.web.server import WebServer

API = {
    pattern.replace("(?P<job_id>[^/]+)", "{job_id}").replace("(?P<name>.+)", "{name}"): handler
    for pattern, handler, _ in ROUTES
    if issubclass(handler, JsonHandler) and handler is not NotFoundHandler
}


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    """Return the OpenAPI description."""
    return openapi()


def validate(description: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Validate a value against a schema of the description."""
    resource: Any = Resource.from_contents({"$schema": "https://json-schema.org/draft/2020-12/schema", **description})
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


def test_paths_are_the_routes(description: dict[str, Any], server: WebServer) -> None:
    """The paths are the API's routes, all methods are GET, and the server sends this document."""
    assert set(description["paths"]) == set(API)
    assert {method for path in description["paths"].values() for method in path} == {"get"}
    assert server.ask("/api/openapi.json").json == description
    for schema in description["components"]["schemas"].values():
        Draft202012Validator.check_schema(_absolute(schema))


@pytest.mark.parametrize("path", API)
def test_parameters_are_the_accepted_ones(description: dict[str, Any], path: str) -> None:
    """The described parameters, defaults and bounds are the accepted ones."""
    params = API[path].params
    parameters = description["paths"][path]["get"].get("parameters", [])
    schemas = {each["name"]: each["schema"] for each in parameters if each["in"] == "query"}
    assert list(schemas) == list(params)
    for name, schema in schemas.items():
        assert parse_query(params, {})[name] == schema.get("default")
        for value in (*schema.get("enum", ()), *(schema[key] for key in ("minimum", "maximum") if key in schema)):
            assert parse_query(params, {name: [str(value).encode()]})[name] == value
        for beyond in (schema.get("minimum", 0) - 1, schema.get("maximum", 2**70) + 1):
            if schema.get("type") == "integer":
                with pytest.raises(BadInput):
                    parse_query(params, {name: [str(beyond).encode()]})


def test_responses_match_their_schemas(description: dict[str, Any], server: WebServer, harness: WorkerHarness) -> None:
    """Responses about completed, failed and running jobs match their schemas, and so do errors."""
    harness.queue.set("backoff_base", "1000")
    leave = """echo x > $QUEUECTL_ARTIFACTS/x; echo '{"loss": 1, "progress": 0.5}' > $QUEUECTL_METRICS;"""
    harness.add(f"{leave} echo hello; exit 2", id="a", tags=["t"], max_retries=2)
    harness.add(f"{leave} echo '[1]' > $QUEUECTL_RESULT", id="b", timeout=59.5)
    harness.add(f"{leave} sleep 60", id="c", after=["b"])
    harness.start()
    running = harness.queue.job("c")
    until(lambda: harness.queue.store.reader.counts()[State.FAILED] and running.refresh().metrics and running.artifacts)
    queries = {
        "/api/jobs": "?limit=2",
        "/api/jobs/{job_id}/log": "?stream=stderr",
    }
    for path in API:
        if path == "/api/events":
            continue
        content = description["paths"][path]["get"]["responses"]["200"]["content"]
        for job_id in ("a", "b", "c") if "{job_id}" in path else ("",):
            response = server.ask(path.format(job_id=job_id, name="x") + queries.get(path, ""))
            assert response.status == 200
            (kind,) = content
            assert response.headers["Content-Type"].startswith(kind)
            validate(
                description,
                content[kind]["schema"],
                response.json if kind == "application/json" else response.body.decode(),
            )
    for target, code in (("/api/jobs?x=1", "400"), ("/api/jobs/nobody", "404")):
        (shape,) = description["components"]["responses"][code]["content"].values()
        validate(description, shape["schema"], server.ask(target).json)
