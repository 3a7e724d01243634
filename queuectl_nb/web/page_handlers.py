"""The page itself, and the files that it is made of."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler, authenticated

from queuectl_nb.render.js_bundle import FRONTEND
from queuectl_nb.web.base_handler import BaseHandler

__all__ = ["Page", "Static"]

TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served from the folders of static files."""


class Page(BaseHandler):
    """The page itself; the only one to lead who may not ask to a login, where there is one."""

    get_login_url = RequestHandler.get_login_url

    @authenticated
    def get(self) -> None:
        """Send it; what it shows it asks for."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish((FRONTEND / "web" / "page.html").read_bytes())

    head = get


class Static(BaseHandler, StaticFileHandler):
    """Scripts, styles and pictures, from the folders of this face and of those that share theirs; nothing listed."""

    def initialize(self, site: Any, path: str) -> None:  # type: ignore[override]
        """Serve files below ``path``."""
        BaseHandler.initialize(self, site)
        StaticFileHandler.initialize(self, path)

    @authenticated
    async def get(self, path: str, include_body: bool = True) -> None:  # type: ignore[override]
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

    def set_extra_headers(self, path: str) -> None:
        """Have browsers ask whether a file changed: they come with the package, which may be updated."""
        self.set_header("Cache-Control", "private, no-cache")
