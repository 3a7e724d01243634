"""What all handlers have in common: headers, errors in JSON, conditional requests, looks at the queue in threads."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from queuectl_nb.model.errors import BadInput, NotFound, QueuectlError
from queuectl_nb.web.query_params import asked
from queuectl_nb.web.queue_reader import etag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuectl_nb.client.changes import ChangeWatcher
    from queuectl_nb.web.query_params import QueryParam
    from queuectl_nb.web.queue_reader import QueueReader

__all__ = ["JSON", "BaseHandler", "JsonHandler"]

JSON = "application/json; charset=utf-8"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; require-trusted-types-for 'script'; frame-ancestors "
)
"""No inline script or style, nothing from elsewhere, and no text of a job becomes markup: the browser sees to it."""
READS = ("GET", "HEAD")


class BaseHandler(RequestHandler):
    """A handler of ours: it reads, whatever it is asked. A door is mixed in before it, which tells who may ask."""

    frame_ancestors = "'none'"
    site: QueueReader

    def initialize(self, site: QueueReader) -> None:
        """Answer for ``site``."""
        self.site = site

    def get_login_url(self) -> str:
        """Refuse where tornado would lead a person to a login."""
        raise HTTPError(403, "log in first")

    def set_default_headers(self) -> None:
        """Let nobody frame, sniff, share or keep what we answer."""
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", POLICY + self.frame_ancestors)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cache-Control", "private, no-cache")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what is wrong as JSON, never a traceback."""
        error = kwargs.get("exc_info", (None, None))[1]
        text = HTTPStatus(status_code).phrase.lower()
        if isinstance(error, QueuectlError):
            text = str(error)
        elif isinstance(error, HTTPError) and error.log_message and status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            text = error.log_message % error.args if error.args else error.log_message
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(READS))
            text = f"{self.request.method} is not possible here: this is read-only; valid: {', '.join(READS)}"
        self.set_header("Content-Type", JSON)
        self.finish(json.dumps({"error": text}))

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Give the errors of the queue the status that goes with them."""
        error = kwargs.get("exc_info", (None, None))[1]
        super().send_error(_status(error) or status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log bugs; what a request does wrong, or the queue refuses, is told to who asked, unless they have gone."""
        if not isinstance(value, QueuectlError | HTTPError | StreamClosedError):
            super().log_exception(typ, value, tb)


def _status(error: BaseException | None) -> int | None:
    """Return the status for an error of the queue; None for others."""
    if isinstance(error, BadInput):
        return HTTPStatus.BAD_REQUEST
    if isinstance(error, NotFound):
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.SERVICE_UNAVAILABLE if isinstance(error, QueuectlError) else None


class JsonHandler(BaseHandler):
    """A handler whose answers are JSON."""

    questions: ClassVar[Mapping[str, QueryParam]] = {}
    """The query parameters that it takes, beside ``token``."""

    _asking: asyncio.Future[tuple[str, str | None]] | None = None

    def asked(self) -> dict[str, Any]:
        """Return the values of the query parameters, checked."""
        given = {name: values for name, values in self.request.query_arguments.items() if name != "token"}
        return asked(self.questions, given)

    async def reply(self, make: Callable[[ChangeWatcher], Any], *, slow: bool = False) -> None:
        """Answer with what ``make`` gives for the queue; 304 where nothing was written since the client's copy.

        A look that has not begun when the client goes is not carried out: who types asks for each letter.
        """

        def look(watch: ChangeWatcher) -> tuple[str, str | None]:
            tag = etag(watch, watch.version())
            return tag, None if self.knows(tag) else json.dumps(make(watch))

        self._asking = asyncio.ensure_future(self.site.ask(look, slow=slow))
        try:
            tag, body = await self._asking
        except asyncio.CancelledError:
            return
        self.answer(tag, body)

    async def reply_always(self, make: Callable[[ChangeWatcher], Any]) -> None:
        """Answer with what ``make`` gives at this moment, on a route without questions.

        Tornado tags it by its content, since it may change without a write: when a worker dies, for one.
        """
        self.asked()
        self.set_header("Content-Type", JSON)
        self.finish(await self.site.ask(lambda watch: json.dumps(make(watch))))

    def knows(self, tag: str) -> bool:
        """Tell whether the client has what goes by this tag."""
        return tag in self.request.headers.get("If-None-Match", "")

    def on_connection_close(self) -> None:
        """Drop the question of who has gone."""
        if self._asking is not None:
            self._asking.cancel()

    def answer(self, tag: str, body: str | None) -> None:
        """Send a JSON text under its tag, or that the client has it already."""
        self.set_header("Etag", tag)
        self.set_header("Content-Type", JSON)
        if body is None:
            self.set_status(HTTPStatus.NOT_MODIFIED)
            self.finish()
        else:
            self.finish(body)
