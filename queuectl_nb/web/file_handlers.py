"""The page, the files that it loads, and artifacts, which no browser may show as a part of this site."""

from __future__ import annotations

import asyncio
import os
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tornado.escape import xhtml_escape
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, StaticFileHandler, authenticated

from queuectl_nb.client.artifacts import find_artifacts, open_named
from queuectl_nb.model.times import format_time
from queuectl_nb.render.js_bundle import FRONTEND
from queuectl_nb.web import query_params
from queuectl_nb.web.base_handler import BaseHandler, JsonHandler

if TYPE_CHECKING:
    from queuectl_nb.client.changes import ChangeWatcher
    from queuectl_nb.client.queue import Queue

__all__ = ["MAX_LISTED", "ArtifactFile", "Page", "Static", "artifact_list"]

CONTENT_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
MAX_LISTED = 1000
"""Artifacts in a list; ``total`` counts all of them."""
CHUNK_BYTES = 1 << 20


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


def artifact_list(queue: Queue, job_id: str, query: dict[str, Any]) -> dict[str, Any]:
    """Return the artifacts of an attempt, by default of the newest one that has any."""
    found = find_artifacts(queue.store, job_id, query["attempt"])
    files = [
        {"name": each.name, "size": each.size, "modified_at": format_time(each.modified_at)}
        for each in found.files[:MAX_LISTED]
    ]
    return {"attempt": found.number, "artifacts": files, "total": len(found.files), "note": found.note}


class ArtifactFile(JsonHandler):
    """``/api/jobs/ID/artifacts/NAME``: a download."""

    params = query_params.ARTIFACT_PARAMS

    @authenticated
    async def get(self, job_id: str, name: str) -> None:
        """Send the file as fast as the client reads."""
        attempt = self.parse_query()["attempt"]

        def open_file(watcher: ChangeWatcher) -> int:
            return open_named(find_artifacts(watcher.queue.store, job_id, attempt), name)

        with os.fdopen(await self.reader.read(open_file), "rb", buffering=0) as file:
            left = os.fstat(file.fileno()).st_size
            base = name.rpartition("/")[2]
            self.set_header("Content-Type", "application/octet-stream")
            self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(base, safe='')}")
            self.set_header("Content-Security-Policy", "default-src 'none'; sandbox")
            self.set_header("Cache-Control", "no-store")
            self.set_header("Content-Length", str(left))
            while left and self.request.method == "GET":
                data = await asyncio.to_thread(file.read, min(CHUNK_BYTES, left))
                if not data:  # a running job has shortened it
                    self.request.connection.stream.close()  # type: ignore[union-attr]  # the client notices it
                    return
                left -= len(data)
                self.write(data)
                try:
                    await self.flush()
                except StreamClosedError:  # the client has cancelled the download
                    return
        self.finish()
