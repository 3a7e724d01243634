"""The Jupyter Server extension: the same page at ``/queuectl/``, behind Jupyter's login."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async, url_path_join
from tornado.ioloop import PeriodicCallback
from tornado.web import HTTPError, RedirectHandler
from traitlets import Bool
from traitlets.config import Configurable

from queuectl_nb.client.queue import Queue
from queuectl_nb.client.workers import list_workers
from queuectl_nb.model.errors import BadEnvironment, QueuectlError
from queuectl_nb.store.paths import find_queue, is_missing
from queuectl_nb.web.auth import is_own_page
from queuectl_nb.web.base_handler import BaseHandler
from queuectl_nb.web.file_handlers import Static
from queuectl_nb.web.handlers import routes
from queuectl_nb.web.queue_reader import QueueReader

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__ = ["JupyterAuth", "PublicStatic", "Queuectl", "open_queue"]

NAME = "queuectl"
ACTIVITY_INTERVAL_S = 60.0
"""Running jobs are looked for this often; shorter than any sensible limit of idle time."""


class JupyterAuth(BaseHandler, JupyterHandler):
    """Requires Jupyter's login and authorizer; refuses requests of foreign pages.

    Headers and errors are those of :class:`BaseHandler`, not Jupyter's.
    """

    frame_ancestors = "'self'"  # JupyterLab shows the page in a tab

    async def prepare(self) -> None:  # type: ignore[override]
        """Refuse foreign pages, then let Jupyter authenticate and authorize the user."""
        if not self._is_own_page():
            raise HTTPError(HTTPStatus.FORBIDDEN, "requests from other pages are refused")
        done: Any = await super().prepare()
        await ensure_async(done)
        if self._finished or not self.current_user:
            return  # redirected to the login; without a user the handlers refuse
        if not await ensure_async(self.authorizer.is_authorized(self, self.current_user, "read", NAME)):
            raise HTTPError(HTTPStatus.FORBIDDEN, "you may not read queuectl on this server")

    def _is_own_page(self) -> bool:
        """Return True for pages of this server and origins that its owner has allowed."""
        if is_own_page(self.request.headers, self.request.host):
            return True
        return bool(self.allow_origin or self.allow_origin_pat) and self.check_origin()

    def skip_check_origin(self) -> bool:
        """Check the origin before the user is known, where Jupyter would ask who that is and fail."""
        return False

    def set_cors_headers(self) -> None:
        """Send no CORS headers, unlike Jupyter's own routes."""

    def set_default_headers(self) -> None:
        """Send our headers instead of Jupyter's, but let the same pages frame us.

        JupyterHub lets none; then JupyterLab opens the page in a browser tab.
        """
        configured = self.settings.get("headers", {}).get("Content-Security-Policy", "")
        self.frame_ancestors = _frame_ancestors(configured) or type(self).frame_ancestors
        super().set_default_headers()

    @property
    def page_xsrf_token(self) -> str:  # type: ignore[override]
        """The token that JupyterHub requires from scripts, even for reading; sets its cookie if there is none."""
        return self.xsrf_token.decode()


class PublicStatic(Static):
    """Scripts, styles and images without a login, like JupyterLab's own.

    Browsers load modules without the token that JupyterHub requires in addition to the cookie.
    """

    get = allow_unauthenticated(Static.get)
    head = allow_unauthenticated(Static.head)


class Queuectl(Configurable):
    """Settings of the extension in the configuration of Jupyter Server."""

    jobs_are_activity = Bool(
        True, help="Running jobs count as activity of the server, so that no idle culler stops it."
    ).tag(config=True)


def _frame_ancestors(policy: str) -> str | None:
    """Return the frame-ancestors of a Content-Security-Policy; None if it has none.

    >>> _frame_ancestors("default-src 'self'; frame-ancestors 'self' https://class.example")
    "'self' https://class.example"
    """
    for directive in policy.split(";"):
        name, _, value = directive.strip().partition(" ")
        if name.lower() == "frame-ancestors":
            return value.strip()
    return None


def open_queue(root: Path) -> Queue:
    """Open the queue of a server with the root directory ``root``; the error of a new one says how to begin."""
    path = find_queue(start=root)
    if is_missing(path):
        msg = f"no queue at {path} yet; '%queuectl enqueue' in a notebook creates it"
        raise BadEnvironment(msg)
    return Queue(path, create=False)


def _load_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Add our routes to a server; the queue is opened at the first request."""
    root = Path(serverapp.root_dir)
    reader = QueueReader(lambda: open_queue(root))
    base = url_path_join(serverapp.web_app.settings["base_url"], NAME)
    pattern = re.escape(base)
    rules: list[Any] = [(pattern, RedirectHandler, {"url": base + "/", "permanent": False})]
    serverapp.web_app.add_handlers(".*$", [*rules, *routes(reader, JupyterAuth, pattern, PublicStatic)])
    if Queuectl(parent=serverapp).jobs_are_activity:
        times = serverapp.web_app.settings["last_activity_times"]
        PeriodicCallback(lambda: _record_activity(reader, times), ACTIVITY_INTERVAL_S * 1000).start()
    serverapp.log.info("queuectl: the web page is at %s/", base)


async def _record_activity(reader: QueueReader, times: dict[str, datetime]) -> None:
    """Set the time of the last activity to now if a live worker runs a job."""
    with suppress(QueuectlError):  # no queue, or not one that workers could use
        workers = await reader.read(lambda watcher: list_workers(watcher.queue.store))
        if any(worker["job_id"] and worker["state"] != "lost" for worker in workers):
            times[NAME] = datetime.now(UTC)
