"""All addresses with their handlers, for any tornado application; the door of each is mixed in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.faces.web import events, handlers, pages
from queuectl_nb.render.js_bundle import FRONTEND, SHARED

if TYPE_CHECKING:
    from tornado.web import RequestHandler

    from queuectl_nb.faces.web.answer import Answer
    from queuectl_nb.faces.web.site import Site

__all__ = ["ADDRESSES", "routes"]

_ID = r"(?P<job_id>[^/]+)"
_OWN = {"path": str(FRONTEND / "web")}
_SHARED = {"path": str(SHARED)}

ADDRESSES: list[tuple[str, type[Answer], dict[str, str]]] = [
    ("/", pages.Page, {}),
    ("/api/status", handlers.Status, {}),
    ("/api/jobs", handlers.Jobs, {}),
    (f"/api/jobs/{_ID}", handlers.OneJob, {}),
    (f"/api/jobs/{_ID}/log", handlers.JobLog, {}),
    ("/api/stats", handlers.Stats, {}),
    ("/api/workers", handlers.Workers, {}),
    ("/api/overview", handlers.Overview, {}),
    ("/api/events", events.Events, {}),
    ("/api/openapi.json", handlers.OpenApi, {}),
    ("/metrics", handlers.Metrics, {}),
    (r"/static/shared/(?P<path>.+)", pages.Static, _SHARED),
    (r"/static/(?P<path>.+)", pages.Static, _OWN),
    (r"/.*", handlers.Missing, {}),
]
"""Pattern below the page's own address, handler, and what the handler is made with."""


def routes(site: Site, door: type[RequestHandler], prefix: str = "") -> list[tuple[str, type[RequestHandler], Any]]:
    """Return the rules for an application: each handler behind ``door``, below ``prefix``."""
    found = []
    for pattern, handler, options in ADDRESSES:
        behind: type[RequestHandler] = type(handler.__name__, (door, handler), {})
        found.append((prefix + pattern, behind, {"site": site, **options}))
    return found
