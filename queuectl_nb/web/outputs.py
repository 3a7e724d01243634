"""``/api/jobs/ID/outputs``: what a cell has displayed, as text and PNG only, so that none of it is markup."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from tornado.web import authenticated

from queuectl_nb.render.formats import json_text
from queuectl_nb.store.cells import read_displays
from queuectl_nb.web.base_handler import JsonHandler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.client.queue import Queue

__all__ = ["Outputs"]

_PNG = b"\x89PNG\r\n\x1a\n"


def _outputs(queue: Queue, job_id: str) -> dict[str, Any]:
    """Return the outputs of the latest attempt."""
    queue.store.jobs.get(job_id)  # raises if there is none
    return {"outputs": [_output(each) for each in read_displays(queue.store.db, job_id)]}


def _output(output: Mapping[str, Any]) -> dict[str, str | None]:
    data = output.get("data") or {}
    text = output.get("text", data.get("text/plain"))
    return {"text": None if text is None else str(text), "png": _png(data.get("image/png"))}


def _png(body: object) -> str | None:
    """Return an image as base64, if it is one."""
    try:
        image = base64.b64decode(str(body or ""), validate=False)
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(image).decode("ascii") if image.startswith(_PNG) else None


class Outputs(JsonHandler):
    """``/api/jobs/ID/outputs``."""

    @authenticated
    async def get(self, job_id: str) -> None:
        """Send the outputs."""
        self.parse_query()
        self.finish(await self.reader.read(lambda watcher: json_text(_outputs(watcher.queue, job_id))))
