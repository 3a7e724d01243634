"""The API, one class a route: each takes its question apart, asks for the body, and sends it."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from tornado.web import HTTPError, authenticated

from queuectl_nb.web import query_params, serializers
from queuectl_nb.web.base_handler import JSON, JsonHandler
from queuectl_nb.web.metrics import exposition
from queuectl_nb.web.queue_reader import etag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.client.changes import ChangeWatcher

__all__ = ["JobLog", "Jobs", "Metrics", "Missing", "OneJob", "OpenApi", "Overview", "Stats", "Status", "Workers"]


class Status(JsonHandler):
    """``/api/status``: counts, paused queues and workers."""

    @authenticated
    async def get(self) -> None:
        """Send the status."""
        await self.reply_always(lambda watch: serializers.status(watch.queue))

    head = get


class Workers(JsonHandler):
    """``/api/workers``."""

    @authenticated
    async def get(self) -> None:
        """Send the workers."""
        await self.reply_always(lambda watch: serializers.workers(watch.queue))

    head = get


class Overview(JsonHandler):
    """``/api/overview``: what the feed sends, for clients that cannot hold it."""

    @authenticated
    async def get(self) -> None:
        """Send the queue at a glance."""
        await self.reply_always(lambda watch: watch.overview())

    head = get


class Jobs(JsonHandler):
    """``/api/jobs``."""

    questions = query_params.JOBS

    @authenticated
    async def get(self) -> None:
        """Send a page of jobs."""
        wanted = self.asked()
        slow = wanted["q"] is not None or wanted["queue"] is not None
        await self.reply(lambda watch: serializers.jobs(watch.queue, wanted), slow=slow)

    head = get


class OneJob(JsonHandler):
    """``/api/jobs/ID``."""

    questions = query_params.JOB

    @authenticated
    async def get(self, job_id: str) -> None:
        """Send a job and its history, attempt by attempt: together they may be larger than memory."""
        output = self.asked()["output"] == "yes"

        def look(watch: ChangeWatcher) -> tuple[str, str | None, Iterator[str]]:
            tag = etag(watch, watch.version())
            job = None if self.knows(tag) else json.dumps(serializers.job(watch.queue, job_id))
            return tag, job, map(json.dumps, serializers.history(watch.queue, job_id, output=output))

        tag, job, history = await self.site.ask(look)
        if job is None:
            self.answer(tag, None)
            return
        self.set_header("Etag", tag)
        self.set_header("Content-Type", JSON)
        self.write(job[:-1] + ', "history": [')
        await self.flush()
        before = ""
        while self.request.method == "GET":
            attempt = await self.site.ask(lambda _: next(history, None))
            if attempt is None:
                break
            self.write(before + attempt)
            before = ", "
            await self.flush()
        self.finish("]}")

    head = get


class JobLog(JsonHandler):
    """``/api/jobs/ID/log``."""

    questions = query_params.LOG

    @authenticated
    async def get(self, job_id: str) -> None:
        """Send a piece of what an attempt wrote."""
        wanted = self.asked()
        piece, size = await self.site.ask(lambda watch: serializers.log(watch.queue, job_id, wanted))
        self.set_header("Content-Type", JSON)
        self.set_header("Log-Size", str(size))
        self.finish(json.dumps(piece))

    head = get


class Stats(JsonHandler):
    """``/api/stats``."""

    @authenticated
    async def get(self) -> None:
        """Send metrics over all attempts."""
        self.asked()

        def look(watch: ChangeWatcher) -> tuple[str, str | None]:
            stamp, stats = self.site.stats(watch)
            tag = etag(watch, stamp)
            return tag, None if self.knows(tag) else json.dumps(stats)

        self.answer(*await self.site.ask(look, slow=True))

    head = get


class Metrics(JsonHandler):
    """``/metrics``."""

    @authenticated
    async def get(self) -> None:
        """Send the queue's figures as Prometheus reads them."""
        self.asked()
        accept = self.request.headers.get("Accept", "")
        body, kind = await self.site.ask(lambda watch: exposition(watch, self.site.feed.clients, accept), slow=True)
        self.set_header("Content-Type", kind)
        self.finish(body)

    head = get


class OpenApi(JsonHandler):
    """``/api/openapi.json``: what all this is, for programs."""

    @authenticated
    def get(self) -> None:
        """Send the description."""
        self.asked()
        self.set_header("Content-Type", JSON)
        self.finish(Path(__file__).with_name("openapi.json").read_bytes())

    head = get


class Missing(JsonHandler):
    """Every other path."""

    @authenticated
    def get(self, *_: str) -> None:
        """Say that there is nothing here."""
        raise HTTPError(HTTPStatus.NOT_FOUND, "there is nothing at this address; /api/openapi.json lists what there is")

    head = get
