"""FIFOs exist only while workers run: programs that copy a project folder fail at them."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.state import State
from tests.engine.harness import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.harness import WorkerHarness


def fifos(folder: Path) -> list[str]:
    """Return the names of the FIFOs in a folder."""
    return sorted(path.name for path in folder.rglob("*") if stat.S_ISFIFO(path.lstat().st_mode))


def test_fifos_are_removed_with_their_workers(harness: WorkerHarness, tmp_path: Path) -> None:
    """Each worker removes its own, and the last one also that for new work."""
    folder = harness.path.parent
    first, second = harness.start(2), harness.start()
    until(lambda: fifos(folder) == ["work.fifo", "worker-1.fifo", "worker-2.fifo", "worker-3.fifo"])
    first.stop()
    assert fifos(folder) == ["work.fifo", "worker-3.fifo"]
    assert harness.add("true").wait(timeout=60).state is State.COMPLETED
    second.stop()
    assert fifos(folder) == []
    harness.queue.close()
    shutil.copytree(folder, tmp_path / "copy of project")


def test_fifos_of_killed_workers_are_removed_by_the_next(harness: WorkerHarness) -> None:
    """FIFOs that killed workers left behind are gone after the next workers."""
    killed = harness.start(2)
    pids = [killed.pid, harness.worker_pid("worker-1"), harness.worker_pid("worker-2")]
    until(lambda: len(fifos(harness.path.parent)) == 3)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    killed.wait(60)
    assert harness.start(drain=True).wait(60) == 0
    assert fifos(harness.path.parent) == []


@pytest.mark.parametrize("make", ["mkfifo", "mkdir", "ln -s nothing", "touch"])
def test_what_a_short_job_makes_in_place_of_its_reports_is_removed(harness: WorkerHarness, make: str) -> None:
    """Whatever it is, so that the folder of the queue can be copied, and nothing piles up."""
    harness.start()
    for name in ("QUEUECTL_METRICS", "QUEUECTL_RESULT"):
        job = harness.add(f"{make} ${name}; echo ok")
        assert job.wait(timeout=60).state is State.COMPLETED
        until(lambda: not harness.queue.store.spool.tokens())
