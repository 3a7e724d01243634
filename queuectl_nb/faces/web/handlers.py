"""One class a route: each takes its question apart, asks for the body, and sends it."""

from __future__ import annotations

import json
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, StaticFileHandler, authenticated

from queuectl_nb.faces.web import bodies, questions
from queuectl_nb.faces.web.answer import JSON, Answer, Api
from queuectl_nb.faces.web.feed import Full, Listener
from queuectl_nb.faces.web.metrics import exposition
from queuectl_nb.faces.web.site import etag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.queue.watch import Watch

__all__ = ["Events", "JobLog", "Jobs", "Metrics", "Missing", "OneJob", "OpenApi", "Overview", "Page", "Static", "Stats"]
__all__ += ["Status", "Workers"]

HERE = Path(__file__).parent
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served from the folders of static files."""
RETRY_MS = 2000
"""How soon a browser that lost the feed asks again."""
SEND_BUFFER = 64 * 1024
"""Bytes of the feed that the system keeps for a slow client: old news are of no use to it."""


class Page(Answer):
    """The page itself; the only one to lead who may not ask to a login, where there is one."""

    get_login_url = RequestHandler.get_login_url

    @authenticated
    def get(self) -> None:
        """Send it; what it shows it asks for."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish((HERE / "templates" / "page.html").read_bytes())

    head = get


class Static(Answer, StaticFileHandler):
    """Scripts, styles and pictures, from the folders of this face and of those that share theirs; nothing listed."""

    def initialize(self, site: Any, path: str) -> None:  # type: ignore[override]  # noqa: ANN401
        """Serve files below ``path``."""
        Answer.initialize(self, site)
        StaticFileHandler.initialize(self, path)

    @authenticated
    async def get(self, path: str, include_body: bool = True) -> None:  # type: ignore[override]  # noqa: FBT001, FBT002
        """Send a file."""
        await StaticFileHandler.get(self, path, include_body)

    @authenticated
    async def head(self, path: str) -> None:  # type: ignore[override]
        """Send what a file's headers would be."""
        await StaticFileHandler.get(self, path, include_body=False)

    def parse_url_path(self, url_path: str) -> str:
        """Return the file that a path means; none has a NUL in its name."""
        if "\0" in url_path:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        return super().parse_url_path(url_path)

    def get_content_type(self) -> str:
        """Return the type by the name's end; not as the machine's own tables have it, which may be anything."""
        return TYPES.get(Path(self.absolute_path or "").suffix, "application/octet-stream")

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - the same for all
        """Have browsers ask whether a file changed: they come with the package, which may be updated."""
        self.set_header("Cache-Control", "private, no-cache")


class _Small(Api):
    """A route without questions, tagged by its content: a worker's death, for one, writes nothing."""

    @authenticated
    async def get(self) -> None:
        """Send the body."""
        self.asked()
        self.set_header("Content-Type", JSON)
        self.finish(await self.site.ask(lambda watch: json.dumps(self.body(watch))))

    head = get

    def body(self, watch: Watch) -> Any:  # noqa: ANN401 - any JSON
        """Return what to send."""
        raise NotImplementedError


class Status(_Small):
    """``/api/status``: counts, paused queues and workers."""

    def body(self, watch: Watch) -> Any:  # noqa: ANN401
        """Return the status."""
        return bodies.status(watch.queue)


class Workers(_Small):
    """``/api/workers``."""

    def body(self, watch: Watch) -> Any:  # noqa: ANN401
        """Return the workers."""
        return bodies.workers(watch.queue)


class Overview(_Small):
    """``/api/overview``: what the feed sends, for clients that cannot hold it."""

    def body(self, watch: Watch) -> Any:  # noqa: ANN401
        """Return the queue at a glance."""
        return watch.overview()


class Jobs(Api):
    """``/api/jobs``."""

    questions = questions.JOBS

    @authenticated
    async def get(self) -> None:
        """Send a page of jobs."""
        wanted = self.asked()
        slow = wanted["q"] is not None or wanted["queue"] is not None
        await self.reply(lambda watch: bodies.jobs(watch.queue, wanted), slow=slow)

    head = get


class OneJob(Api):
    """``/api/jobs/ID``."""

    questions = questions.JOB

    @authenticated
    async def get(self, job_id: str) -> None:
        """Send a job and its history, attempt by attempt: together they may be larger than memory."""
        output = self.asked()["output"] == "yes"
        known = self.request.headers.get("If-None-Match", "")

        def look(watch: Watch) -> tuple[str, str | None, Iterator[str]]:
            tag = etag(watch, watch.stamp())
            job = None if tag in known else json.dumps(bodies.job(watch.queue, job_id))
            return tag, job, map(json.dumps, bodies.history(watch.queue, job_id, output=output))

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


class JobLog(Api):
    """``/api/jobs/ID/log``."""

    questions = questions.LOG

    @authenticated
    async def get(self, job_id: str) -> None:
        """Send a piece of what an attempt wrote."""
        wanted = self.asked()
        piece, size = await self.site.ask(lambda watch: bodies.log(watch.queue, job_id, wanted))
        self.set_header("Content-Type", JSON)
        self.set_header("Log-Size", str(size))
        self.finish(json.dumps(piece))

    head = get


class Stats(Api):
    """``/api/stats``."""

    @authenticated
    async def get(self) -> None:
        """Send metrics over all attempts."""
        self.asked()
        known = self.request.headers.get("If-None-Match", "")

        def look(watch: Watch) -> tuple[str, str | None]:
            stamp, stats = self.site.stats(watch)
            tag = etag(watch, stamp)
            return tag, None if tag in known else json.dumps(stats)

        self.answer(*await self.site.ask(look, slow=True))

    head = get


class Metrics(Api):
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


class OpenApi(Api):
    """``/api/openapi.json``: what all this is, for programs."""

    @authenticated
    def get(self) -> None:
        """Send the description."""
        self.asked()
        self.set_header("Content-Type", JSON)
        self.finish((HERE / "openapi.json").read_bytes())

    head = get


class Events(Api):
    """``/api/events``: server-sent events."""

    @authenticated
    async def get(self) -> None:
        """Send the queue at a glance, now and whenever it changed, as fast as the client reads."""
        self.asked()
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # proxies of nginx's kind would wait for more
        if self.request.method == "HEAD":
            self.finish()
            return
        self._listener = Listener()
        try:
            async with aclosing(self.site.feed.events(self._listener)) as events:
                self._small_buffer()
                self.write(f"retry: {RETRY_MS}\n\n")
                async for event in events:
                    self.write(event)
                    await self.flush()
        except Full:
            self._send_away()
        except StreamClosedError:
            return
        else:
            self.finish()

    head = get

    def _send_away(self) -> None:
        """Tell who is one too many to poll."""
        self.clear()
        self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
        self.set_header("Retry-After", "30")
        self.set_header("Content-Type", JSON)
        self.finish(json.dumps({"error": "too many listen; ask /api/overview now and then instead"}))

    def on_connection_close(self) -> None:
        """Stop sending to who has gone."""
        if hasattr(self, "_listener"):
            self._listener.leave()

    def _small_buffer(self) -> None:
        import socket  # noqa: PLC0415 - with what it is for

        stream = getattr(self.request.connection, "stream", None)
        if stream is not None and stream.socket is not None:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


class Missing(Api):
    """Every other path."""

    def prepare_missing(self) -> None:
        """Say that there is nothing here."""
        raise HTTPError(HTTPStatus.NOT_FOUND, "there is nothing at this address; /api/openapi.json lists what there is")

    @authenticated
    def get(self, *_: str) -> None:
        """Refuse."""
        self.prepare_missing()

    head = get
