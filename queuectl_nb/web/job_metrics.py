"""``/api/running`` and ``/api/jobs/ID/metrics``: what jobs report, for the bars and lines of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado.web import authenticated

from queuectl_nb.client.metrics import latest_metrics, running_metrics
from queuectl_nb.render.formats import json_text
from queuectl_nb.web.base_handler import JsonHandler

if TYPE_CHECKING:
    from queuectl_nb.client.queue import Queue

__all__ = ["JobMetrics", "running"]


def running(queue: Queue) -> dict[str, Any]:
    """Return progress and last metrics of the running jobs that have reported any, by id."""
    return {"jobs": {job_id: each._asdict() for job_id, each in running_metrics(queue.store).items()}}


class JobMetrics(JsonHandler):
    """``/api/jobs/ID/metrics``."""

    @authenticated
    async def get(self, job_id: str) -> None:
        """Send progress and metrics of the latest attempt."""
        self.parse_query()
        found = await self.reader.read(lambda watcher: latest_metrics(watcher.queue.store, job_id))
        series = [each._asdict() for each in found.series]
        self.finish(json_text({"progress": found.progress, "series": series}))
