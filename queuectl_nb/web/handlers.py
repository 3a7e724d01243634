"""All routes and their handlers, for the stand-alone server and for Jupyter Server."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, authenticated

from queuectl_nb.client.workers import list_workers, read_status
from queuectl_nb.render.formats import json_text
from queuectl_nb.render.js_bundle import FRONTEND, SHARED
from queuectl_nb.web import query_params, serializers
from queuectl_nb.web.base_handler import BaseHandler, JsonHandler
from queuectl_nb.web.event_feed import Subscriber
from queuectl_nb.web.file_handlers import ArtifactFile, Page, Static, artifact_list
from queuectl_nb.web.metrics import exposition
from queuectl_nb.web.queue_reader import revision_etag
from queuectl_nb.web.serializers import charts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.changes import ChangeWatcher
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.web.queue_reader import QueueReader

__all__ = ["ROUTES", "NotFoundHandler", "routes"]

RECONNECT_MS = 2000
"""Delay before a browser reconnects to the event feed."""
SEND_BUFFER_BYTES = 64 * 1024
"""Kernel buffer per client of the event feed; small because a slow client has no use for outdated events."""


class _Computed(JsonHandler):
    """The routes without parameters: ``/api/status``, ``/api/stats`` and so on.

    Tornado makes the ETag from the body: workers can change without a write, for example when one dies.
    """

    def initialize(  # type: ignore[override]
        self, reader: QueueReader, compute: Callable[[ChangeWatcher], Any], *, slow: bool = False
    ) -> None:
        """Send what ``compute`` returns; if ``slow``, cached in proportion to the time that it takes."""
        super().initialize(reader)
        self._compute = partial(reader.cached, compute) if slow else compute
        self._slow = slow

    @authenticated
    async def get(self) -> None:
        """Send the value."""
        self.parse_query()
        self.finish(await self.reader.read(lambda watcher: json_text(self._compute(watcher)), slow=self._slow))


class _Jobs(JsonHandler):
    """``/api/jobs``."""

    params = query_params.JOBS_PARAMS
    body = staticmethod(serializers.jobs)
    slow = False
    _page: asyncio.Future[tuple[str, str | None]] | None = None

    @authenticated
    async def get(self) -> None:
        """Send a page of jobs, or 304 if the queue has not changed since the client's copy.

        A query that has not started when the client disconnects is dropped: a search box sends one per keystroke.
        """
        query = self.parse_query()
        slow = self.slow or any(query_params.parse_selection({**query, "state": None}).values())

        def read(watcher: ChangeWatcher) -> tuple[str, str | None]:
            etag = revision_etag(watcher)
            return etag, None if self.client_has(etag) else json_text(self.body(watcher.queue, query))

        self._page = asyncio.ensure_future(self.reader.read(read, slow=slow))
        try:
            etag, body = await self._page
        except asyncio.CancelledError:
            return
        self.send_json(etag, body)

    def on_connection_close(self) -> None:
        """Cancel the query of a client that disconnected."""
        if self._page is not None:
            self._page.cancel()


class _Errors(_Jobs):
    """``/api/errors``."""

    params = query_params.ERRORS_PARAMS
    body = staticmethod(serializers.errors)
    slow = True


class _OneJob(JsonHandler):
    """``/api/jobs/ID``."""

    params = query_params.JOB_PARAMS

    @authenticated
    async def get(self, job_id: str) -> None:
        """Stream a job and its history attempt by attempt: the whole may not fit in memory."""
        output = self.parse_query()["output"] == "yes"

        def read(watcher: ChangeWatcher) -> tuple[str, str | None, Iterator[str]]:
            etag = revision_etag(watcher)
            if self.client_has(etag):
                return etag, None, iter(())
            job = json_text(serializers.job(watcher.queue, job_id, display=not output))
            return etag, job, map(json_text, serializers.history(watcher.queue, job_id, output=output))

        etag, job, history = await self.reader.read(read)
        if job is None:
            self.send_json(etag, None)
            return
        self.set_header("Etag", etag)
        self.write(job[:-1] + ', "history": [')
        await self.flush()
        separator = ""
        while self.request.method == "GET":
            attempt = await self.reader.read(lambda _: next(history, None))
            if attempt is None:
                break
            self.write(separator + attempt)
            separator = ", "
            await self.flush()
        self.finish("]}")


class _OfJob(JsonHandler):
    """Base of the routes below ``/api/jobs/ID`` that send one JSON object."""

    body: Callable[[Queue, str, dict[str, Any]], Any]

    @authenticated
    async def get(self, job_id: str) -> None:
        """Send what ``body`` returns for a job and the query parameters."""
        query = self.parse_query()
        self.finish(await self.reader.read(lambda watcher: json_text(self.body(watcher.queue, job_id, query))))


class _Outputs(_OfJob):
    """``/api/jobs/ID/outputs``."""

    body = staticmethod(serializers.outputs)


class _JobMetrics(_OfJob):
    """``/api/jobs/ID/metrics``."""

    body = staticmethod(serializers.job_metrics)


class _ArtifactList(_OfJob):
    """``/api/jobs/ID/artifacts``."""

    params = query_params.ARTIFACT_PARAMS
    body = staticmethod(artifact_list)


class _JobLog(JsonHandler):
    """``/api/jobs/ID/log``."""

    params = query_params.LOG_PARAMS

    @authenticated
    async def get(self, job_id: str) -> None:
        """Send a piece of the output of an attempt."""
        query = self.parse_query()
        piece, size = await self.reader.read(lambda watcher: serializers.log(watcher.queue, job_id, query))
        self.set_header("Log-Size", str(size))
        self.finish(json_text(piece))


class _Metrics(JsonHandler):
    """``/metrics``."""

    @authenticated
    async def get(self) -> None:
        """Send the Prometheus metrics."""
        self.parse_query()
        accept = self.request.headers.get("Accept", "")
        body, content_type = await self.reader.read(lambda watcher: exposition(watcher, accept), slow=True)
        self.set_header("Content-Type", content_type)
        self.finish(body)


class _Events(JsonHandler):
    """``/api/events``: server-sent events, sent as fast as the client reads."""

    _subscriber: Subscriber | None = None

    @authenticated
    async def get(self) -> None:
        """Send the overview now and after each change."""
        self.parse_query()
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx would buffer the stream
        if self.request.method == "HEAD":
            self.finish()
            return
        self._subscriber = Subscriber()
        try:
            async with aclosing(self.reader.feed.events(self._subscriber)) as events:
                self._shrink_send_buffer()
                self.write(f"retry: {RECONNECT_MS}\n\n")
                async for event in events:
                    self.write(event)
                    await self.flush()
        except StreamClosedError:
            return
        else:
            self.finish()

    def on_connection_close(self) -> None:
        """Unsubscribe a client that disconnected."""
        if self._subscriber is not None:
            self._subscriber.close()

    def _shrink_send_buffer(self) -> None:
        stream = getattr(self.request.connection, "stream", None)
        if stream is not None and stream.socket is not None:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


class _OpenApi(JsonHandler):
    """``/api/openapi.json``."""

    @authenticated
    def get(self) -> None:
        """Send the OpenAPI description of this API."""
        self.parse_query()
        self.finish(Path(__file__).with_name("openapi.json").read_bytes())


class NotFoundHandler(JsonHandler):
    """Every other path."""

    @authenticated
    def get(self, *_: str) -> None:
        """Respond 404."""
        raise HTTPError(HTTPStatus.NOT_FOUND, "no such address; /api/openapi.json lists the valid ones")


JOB_ID = r"(?P<job_id>[^/]+)"

ROUTES: list[tuple[str, type[BaseHandler], dict[str, Any]]] = [
    ("/", Page, {}),
    ("/api/status", _Computed, {"compute": lambda watcher: read_status(watcher.queue.store)}),
    ("/api/jobs", _Jobs, {}),
    ("/api/errors", _Errors, {}),
    (f"/api/jobs/{JOB_ID}", _OneJob, {}),
    (f"/api/jobs/{JOB_ID}/log", _JobLog, {}),
    (f"/api/jobs/{JOB_ID}/outputs", _Outputs, {}),
    (f"/api/jobs/{JOB_ID}/metrics", _JobMetrics, {}),
    ("/api/running", _Computed, {"compute": lambda watcher: serializers.running(watcher.queue)}),
    (f"/api/jobs/{JOB_ID}/artifacts", _ArtifactList, {}),
    (f"/api/jobs/{JOB_ID}/artifacts/(?P<name>.+)", ArtifactFile, {}),
    ("/api/stats", _Computed, {"compute": lambda watcher: serializers.stats(watcher.queue), "slow": True}),
    ("/api/charts", _Computed, {"compute": lambda watcher: charts(watcher.queue), "slow": True}),
    ("/api/workers", _Computed, {"compute": lambda watcher: list_workers(watcher.queue.store)}),
    ("/api/overview", _Computed, {"compute": lambda watcher: watcher.overview()}),
    ("/api/events", _Events, {}),
    ("/api/openapi.json", _OpenApi, {}),
    ("/metrics", _Metrics, {}),
    (r"/static/shared/(?P<path>.+)", Static, {"path": str(SHARED)}),
    (r"/static/(?P<path>.+)", Static, {"path": str(FRONTEND / "web")}),
    (r"/.*", NotFoundHandler, {}),
]
"""Pattern, handler class and arguments of its ``initialize``."""


def routes(
    reader: QueueReader, auth_class: type[BaseHandler], prefix: str = "", static_class: type[BaseHandler] | None = None
) -> list[tuple[str, type[BaseHandler], Any]]:
    """Return the rules for an application, with ``auth_class`` mixed into each handler.

    ``static_class`` replaces the handler of static files.
    """
    mixed = {handler: type(handler.__name__, (auth_class, handler), {}) for _, handler, _ in ROUTES}
    if static_class is not None:
        mixed[Static] = static_class
    return [(prefix + pattern, mixed[handler], {"reader": reader, **options}) for pattern, handler, options in ROUTES]
