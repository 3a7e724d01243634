"""Cells as jobs, as the magic enqueues them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.client.cell import Cell, make_cell_spec
from queuectl_nb.client.enqueue import enqueue_specs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.client import Job, Queue

__all__ = ["enqueue_cell"]


def enqueue_cell(queue: Queue, source: str, inputs: Mapping[str, Any] | None = None, **options: Any) -> Job:
    """Add a job that runs a cell with variables."""
    spec = make_cell_spec(queue.path, Cell(source, inputs or {}), options)
    return queue.job(enqueue_specs(queue, [spec]).ids[0])
