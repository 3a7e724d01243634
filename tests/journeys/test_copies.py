"""A copy or a restored backup of a queue never harms the original."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client import Queue
from queuectl_nb.client.doctor import run_checks
from tests.engine.harness import WorkerHarness, alive, read_pid

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("how", ["cp -r", "backup"])
def test_workers_of_a_copy_leave_the_original_alone(harness: WorkerHarness, tmp_path: Path, how: str) -> None:
    """While a job runs, its queue is copied and workers start in the copy: they fail it there and do not kill it."""
    pid_file, go = tmp_path / "pid", tmp_path / "go"
    job = harness.add(f"echo $$ > {pid_file}; until [ -e {go} ]; do sleep 0.02; done; echo done", max_retries=1)
    harness.start()
    pid = read_pid(pid_file)
    folder = tmp_path / "copy"
    folder.mkdir()
    target = folder / harness.path.name
    if how == "backup":
        harness.queue.backup(target)
    else:
        shutil.copy(harness.path, target)
        shutil.copy(f"{harness.path}-wal", f"{target}-wal")
        ignore_fifos = shutil.ignore_patterns("*.fifo")
        shutil.copytree(harness.queue.store.db.spool, f"{target}-spool", ignore=ignore_fifos)

    copy = WorkerHarness(Queue(target))
    assert not any(remedy for _, (_, remedy) in run_checks(target, lambda: copy.queue))
    other = copy.add("true")
    copy.start(drain=True).wait(timeout=60)
    copy.close()
    assert copy.queue.job(other.id).state == "completed"
    assert (copy.queue.job(job.id).state, copy.queue.job(job.id).error) == ("dead", "the queue was copied while it ran")
    copy.queue.close()
    assert alive(pid)
    go.touch()
    assert job.wait(timeout=60).state == "completed"
    assert job.log() == "done\n"
