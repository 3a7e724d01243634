"""The handlers of the API: parse the query, read the queue in a thread, send the result."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tornado.web import HTTPError, authenticated

from queuectl_nb.web import query_params, serializers
from queuectl_nb.web.base_handler import JSON, JsonHandler
from queuectl_nb.web.metrics import exposition
from queuectl_nb.web.queue_reader import revision_etag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.changes import ChangeWatcher
    from queuectl_nb.web.queue_reader import QueueReader

__all__ = ["JobLog", "Jobs", "Metrics", "NotFoundHandler", "OneJob", "OpenApi", "Snapshot", "Stats"]


class Snapshot(JsonHandler):
    """``/api/status``, ``/api/workers`` and ``/api/overview``: the current state, without parameters.

    Tornado makes the ETag from the body: workers can change without a write, for example when one dies.
    """

    def initialize(self, reader: QueueReader, serialize: Callable[[ChangeWatcher], Any]) -> None:  # type: ignore[override]
        """Send what ``serialize`` returns."""
        super().initialize(reader)
        self._serialize = serialize

    @authenticated
    async def get(self) -> None:
        """Send the current state."""
        self.parse_query()
        self.set_header("Content-Type", JSON)
        self.finish(await self.reader.read(lambda watcher: json.dumps(self._serialize(watcher))))


class Jobs(JsonHandler):
    """``/api/jobs``."""

    params = query_params.JOBS_PARAMS

    @authenticated
    async def get(self) -> None:
        """Send a page of jobs."""
        query = self.parse_query()
        slow = query["q"] is not None or query["queue"] is not None
        await self.send_by_revision(lambda watcher: serializers.jobs(watcher.queue, query), slow=slow)


class OneJob(JsonHandler):
    """``/api/jobs/ID``."""

    params = query_params.JOB_PARAMS

    @authenticated
    async def get(self, job_id: str) -> None:
        """Stream a job and its history attempt by attempt: the whole may not fit in memory."""
        output = self.parse_query()["output"] == "yes"

        def read(watcher: ChangeWatcher) -> tuple[str, str | None, Iterator[str]]:
            etag = revision_etag(watcher, watcher.version())
            job = None if self.client_has(etag) else json.dumps(serializers.job(watcher.queue, job_id))
            return etag, job, map(json.dumps, serializers.history(watcher.queue, job_id, output=output))

        etag, job, history = await self.reader.read(read)
        if job is None:
            self.send_json(etag, None)
            return
        self.set_header("Etag", etag)
        self.set_header("Content-Type", JSON)
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


class JobLog(JsonHandler):
    """``/api/jobs/ID/log``."""

    params = query_params.LOG_PARAMS

    @authenticated
    async def get(self, job_id: str) -> None:
        """Send a piece of the output of an attempt."""
        query = self.parse_query()
        piece, size = await self.reader.read(lambda watcher: serializers.log(watcher.queue, job_id, query))
        self.set_header("Content-Type", JSON)
        self.set_header("Log-Size", str(size))
        self.finish(json.dumps(piece))


class Stats(JsonHandler):
    """``/api/stats``."""

    @authenticated
    async def get(self) -> None:
        """Send the statistics over all attempts."""
        self.parse_query()

        def read(watcher: ChangeWatcher) -> tuple[str, str | None]:
            revision, stats = self.reader.stats(watcher)
            etag = revision_etag(watcher, revision)
            return etag, None if self.client_has(etag) else json.dumps(stats)

        self.send_json(*await self.reader.read(read, slow=True))


class Metrics(JsonHandler):
    """``/metrics``."""

    @authenticated
    async def get(self) -> None:
        """Send the Prometheus metrics."""
        self.parse_query()
        accept = self.request.headers.get("Accept", "")
        clients = self.reader.feed.clients
        body, content_type = await self.reader.read(lambda watcher: exposition(watcher, clients, accept), slow=True)
        self.set_header("Content-Type", content_type)
        self.finish(body)


class OpenApi(JsonHandler):
    """``/api/openapi.json``."""

    @authenticated
    def get(self) -> None:
        """Send the OpenAPI description of this API."""
        self.parse_query()
        self.set_header("Content-Type", JSON)
        self.finish(Path(__file__).with_name("openapi.json").read_bytes())


class NotFoundHandler(JsonHandler):
    """Every other path."""

    @authenticated
    def get(self, *_: str) -> None:
        """Respond 404."""
        raise HTTPError(HTTPStatus.NOT_FOUND, "no such address; /api/openapi.json lists the valid ones")
