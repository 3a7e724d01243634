"""All routes, for the stand-alone server and for Jupyter Server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.render.js_bundle import FRONTEND, SHARED
from queuectl_nb.web import api_handlers, event_handler, page_handlers, serializers

if TYPE_CHECKING:
    from tornado.web import RequestHandler

    from queuectl_nb.web.base_handler import BaseHandler
    from queuectl_nb.web.queue_reader import QueueReader

__all__ = ["ROUTES", "routes"]

_ID = r"(?P<job_id>[^/]+)"

ROUTES: list[tuple[str, type[BaseHandler], dict[str, Any]]] = [
    ("/", page_handlers.Page, {}),
    ("/api/status", api_handlers.Snapshot, {"serialize": lambda watcher: serializers.status(watcher.queue)}),
    ("/api/jobs", api_handlers.Jobs, {}),
    (f"/api/jobs/{_ID}", api_handlers.OneJob, {}),
    (f"/api/jobs/{_ID}/log", api_handlers.JobLog, {}),
    ("/api/stats", api_handlers.Stats, {}),
    ("/api/workers", api_handlers.Snapshot, {"serialize": lambda watcher: watcher.queue.worker_list()}),
    ("/api/overview", api_handlers.Snapshot, {"serialize": lambda watcher: watcher.overview()}),
    ("/api/events", event_handler.Events, {}),
    ("/api/openapi.json", api_handlers.OpenApi, {}),
    ("/metrics", api_handlers.Metrics, {}),
    (r"/static/shared/(?P<path>.+)", page_handlers.Static, {"path": str(SHARED)}),
    (r"/static/(?P<path>.+)", page_handlers.Static, {"path": str(FRONTEND / "web")}),
    (r"/.*", api_handlers.NotFoundHandler, {}),
]
"""Pattern, handler class and arguments of its ``initialize``."""


def routes(
    reader: QueueReader, auth_class: type[RequestHandler], prefix: str = ""
) -> list[tuple[str, type[RequestHandler], Any]]:
    """Return the rules for an application, with ``auth_class`` mixed into each handler."""
    return [
        (prefix + pattern, type(handler.__name__, (auth_class, handler), {}), {"reader": reader, **options})
        for pattern, handler, options in ROUTES
    ]
