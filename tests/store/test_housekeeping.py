"""Housekeeping: old jobs are removed a few at a time, and only if the setting says so."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from queuectl_nb.store import maintenance
from queuectl_nb.store.blobs import STRAY_AGE_S, blob_dir
from queuectl_nb.store.maintenance import Housekeeping
from tests.commands.manual_worker import ManualWorker

if TYPE_CHECKING:
    import pytest

    from queuectl_nb.client import Queue

DAY_S = 86_400


def test_retention(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run removes old jobs if ``retention`` is set; what exceeds the limit of a run is removed by the next."""
    worker = ManualWorker(queue)
    for job_id in ("a", "b", "c"):
        worker.add(job_id)
        worker.run(job_id)
    monkeypatch.setattr(maintenance, "PRUNE_INTERVAL_S", 0.0)
    monkeypatch.setattr("queuectl_nb.store.jobs.PRUNE_BATCH_JOBS", 1)
    monkeypatch.setattr(maintenance, "MAX_PRUNED_JOBS", 2)
    kept = Housekeeping(queue.store)
    kept.run(0)
    kept.run(1)
    assert len(queue.jobs()) == 3
    now = time.time() + 2 * DAY_S
    monkeypatch.setattr("queuectl_nb.store.maintenance.time.time", lambda: now)
    kept.run(0)
    assert len(queue.jobs()) == 3
    kept.run(1)
    assert len(queue.jobs()) == 1
    kept.run(1)
    assert queue.jobs().empty


def test_stray_files(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed enqueue has left is removed without ``retention``."""
    folder = Path(blob_dir(queue.store.db.output_dir))
    folder.mkdir()
    for name, age_s in {"old": STRAY_AGE_S + 10, "new": 10}.items():
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age_s,) * 2)
    monkeypatch.setattr(maintenance, "PRUNE_INTERVAL_S", 0.0)
    Housekeeping(queue.store).run(0)
    assert os.listdir(folder) == ["new"]
