"""All addresses with their handlers, for any tornado application; the door of each is mixed in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.render.js_bundle import FRONTEND, SHARED
from queuectl_nb.web import api_handlers, event_handler, page_handlers

if TYPE_CHECKING:
    from tornado.web import RequestHandler

    from queuectl_nb.web.base_handler import BaseHandler
    from queuectl_nb.web.queue_reader import QueueReader

__all__ = ["ADDRESSES", "routes"]

_ID = r"(?P<job_id>[^/]+)"
_OWN = {"path": str(FRONTEND / "web")}
_SHARED = {"path": str(SHARED)}

ADDRESSES: list[tuple[str, type[BaseHandler], dict[str, str]]] = [
    ("/", page_handlers.Page, {}),
    ("/api/status", api_handlers.Status, {}),
    ("/api/jobs", api_handlers.Jobs, {}),
    (f"/api/jobs/{_ID}", api_handlers.OneJob, {}),
    (f"/api/jobs/{_ID}/log", api_handlers.JobLog, {}),
    ("/api/stats", api_handlers.Stats, {}),
    ("/api/workers", api_handlers.Workers, {}),
    ("/api/overview", api_handlers.Overview, {}),
    ("/api/events", event_handler.Events, {}),
    ("/api/openapi.json", api_handlers.OpenApi, {}),
    ("/metrics", api_handlers.Metrics, {}),
    (r"/static/shared/(?P<path>.+)", page_handlers.Static, _SHARED),
    (r"/static/(?P<path>.+)", page_handlers.Static, _OWN),
    (r"/.*", api_handlers.Missing, {}),
]
"""Pattern below the page's own address, handler, and what the handler is made with."""


def routes(
    site: QueueReader, door: type[RequestHandler], prefix: str = ""
) -> list[tuple[str, type[RequestHandler], Any]]:
    """Return the rules for an application: each handler behind ``door``, below ``prefix``."""
    found = []
    for pattern, handler, options in ADDRESSES:
        behind: type[RequestHandler] = type(handler.__name__, (door, handler), {})
        found.append((prefix + pattern, behind, {"site": site, **options}))
    return found
