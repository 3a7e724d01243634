"""The page, and the files that it loads."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from tornado.escape import xhtml_escape
from tornado.web import HTTPError, RequestHandler, StaticFileHandler, authenticated

from queuectl_nb.render.js_bundle import FRONTEND
from queuectl_nb.web.base_handler import BaseHandler

__all__ = ["Page", "Static"]

CONTENT_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class Page(BaseHandler):
    """The page; the only route that redirects to a login page, where there is one."""

    get_login_url = RequestHandler.get_login_url

    @authenticated
    def get(self) -> None:
        """Send the page."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        page = (FRONTEND / "web" / "page.html").read_text("utf-8")
        self.finish(page.replace("XSRF_TOKEN", xhtml_escape(self.page_xsrf_token)))


class Static(BaseHandler, StaticFileHandler):
    """Scripts, styles and images; folders are not listed."""

    def initialize(self, reader: Any, path: str) -> None:  # type: ignore[override]
        """Serve the files below ``path``."""
        BaseHandler.initialize(self, reader)
        StaticFileHandler.initialize(self, path)

    head = BaseHandler.head  # type: ignore[assignment]

    async def get(self, path: str, include_body: bool = True) -> None:
        """Send a file."""
        await StaticFileHandler.get(self, path, include_body)

    def parse_url_path(self, url_path: str) -> str:
        """Return the file name; refuse a NUL, which no file name may contain."""
        if "\0" in url_path:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        return super().parse_url_path(url_path)

    def get_content_type(self) -> str:
        """Return the type by extension; ``mimetypes`` depends on the tables of the machine."""
        return CONTENT_TYPES.get(Path(self.absolute_path or "").suffix, "application/octet-stream")
