"""Base classes of the handlers: security headers, JSON errors, conditional requests."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from queuectl_nb.model.errors import BadInput, NotFound, QueuectlError
from queuectl_nb.web.query_params import parse_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from queuectl_nb.web.query_params import QueryParam
    from queuectl_nb.web.queue_reader import QueueReader

__all__ = ["CONTENT_SECURITY_POLICY", "JSON", "BaseHandler", "JsonHandler"]

JSON = "application/json; charset=utf-8"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; frame-ancestors "
)
"""No inline script or style, no foreign content, and no text of a job can become markup."""
METHODS = ("GET", "HEAD")
AUTH_PARAMS = ("token", "_xsrf")
"""Query parameters that every address accepts; JupyterHub reads ``_xsrf``."""
ERROR_STATUS = {BadInput: HTTPStatus.BAD_REQUEST, NotFound: HTTPStatus.NOT_FOUND}
"""HTTP status by error of the queue; 503 for others."""


class BaseHandler(RequestHandler):
    """A read-only handler; :func:`routes` mixes in a subclass that authenticates requests."""

    frame_ancestors = "'none'"
    page_xsrf_token = ""
    """The token that requests of the page send, where the server requires one."""
    reader: QueueReader

    def initialize(self, reader: QueueReader) -> None:
        """Read from ``reader``."""
        self.reader = reader

    def get_login_url(self) -> str:
        """Refuse, where tornado would redirect to a login page."""
        raise HTTPError(403, "log in first")

    def set_default_headers(self) -> None:
        """Forbid framing, content sniffing, sharing and caching."""
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY + self.frame_ancestors)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cache-Control", "private, no-cache")

    def head(self, *args: str, **kwargs: str) -> Awaitable[None] | None:
        """Handle HEAD like GET; tornado drops the body."""
        return self.get(*args, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send the error as JSON, never as a traceback."""
        error = kwargs.get("exc_info", (None, None))[1]
        text = HTTPStatus(status_code).phrase.lower()
        if isinstance(error, QueuectlError):
            status = (status for kind, status in ERROR_STATUS.items() if isinstance(error, kind))
            self.set_status(next(status, HTTPStatus.SERVICE_UNAVAILABLE))
            text = str(error)
        elif isinstance(error, HTTPError) and error.log_message and status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            text = error.log_message % error.args
        if self.get_status() == HTTPStatus.SERVICE_UNAVAILABLE:
            self.set_header("Retry-After", "30")
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(METHODS))
            text = f"{self.request.method} is not allowed: the API is read-only; valid: {', '.join(METHODS)}"
        self.set_header("Content-Type", JSON)
        self.finish(json.dumps({"error": text}))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log bugs only: other errors are reported to the client."""
        if not isinstance(value, QueuectlError | HTTPError | StreamClosedError):
            super().log_exception(typ, value, tb)


class JsonHandler(BaseHandler):
    """A handler that responds with JSON."""

    params: ClassVar[Mapping[str, QueryParam]] = {}
    """Accepted query parameters, besides those of the authentication."""

    def set_default_headers(self) -> None:
        """Send JSON."""
        super().set_default_headers()
        self.set_header("Content-Type", JSON)

    def compute_etag(self) -> str | None:
        """Return the ETag of the body; HEAD of a stream has none, and would get the hash of nothing."""
        return super().compute_etag() if self._write_buffer else None

    def parse_query(self) -> dict[str, Any]:
        """Return the validated query parameters."""
        given = self.request.query_arguments
        return parse_query(self.params, {name: given[name] for name in given if name not in AUTH_PARAMS})

    def client_has(self, etag: str) -> bool:
        """Return True if the client has a copy with this ETag."""
        return etag in self.request.headers.get("If-None-Match", "")

    def send_json(self, etag: str, body: str | None) -> None:
        """Send a body with its ETag, or 304 if ``body`` is None."""
        self.set_header("Etag", etag)
        if body is None:
            self.set_status(HTTPStatus.NOT_MODIFIED)
        self.finish(body)
