"""Commands inside a job do not wait for that very job."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.engine.enclosing_job import enclosing_job
from queuectl_nb.model.errors import BadInput, WaitTimeout
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.harness import WorkerHarness

QUEUECTL = f"{shlex.quote(sys.executable)} -m queuectl_nb"


def test_wait_for_all_inside_a_job(harness: WorkerHarness) -> None:
    """``wait`` leaves out its own job and the jobs that wait for it, but no others."""
    parent = harness.add(f"{QUEUECTL} enqueue --id child --command true && {QUEUECTL} wait", id="parent", timeout=60)
    after = harness.add("true", after=["parent"])
    harness.start(2)
    assert parent.wait(timeout=90).state is State.COMPLETED
    assert harness.queue.job("child").state is State.COMPLETED
    assert after.wait(timeout=60).state is State.COMPLETED


WAITING = """
import warnings
from queuectl_nb import Queue, WaitTimeout
q = Queue({path!r})
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        try:
            q.enqueue("true").result(timeout=0.3)
        except WaitTimeout:
            pass
print(*[each.message for each in caught], sep="\\n")
"""


@pytest.mark.parametrize("count", [1, 2])
def test_result_inside_a_job(harness: WorkerHarness, tmp_path: Path, count: int) -> None:
    """A job that waits for another one, which only its own worker could run, gets a warning."""
    script = tmp_path / "script.py"
    script.write_text(WAITING.format(path=str(harness.path)))
    job = harness.add(f"{shlex.quote(sys.executable)} {script}", timeout=60)
    harness.start(count)
    text = job.wait(timeout=90).log()
    expected = "the only worker runs this job; if it waits for others, start another worker with"
    assert text.count(expected) == (2 if count == 1 else 0), text


def test_drain_inside_a_job(harness: WorkerHarness) -> None:
    """``worker start --drain`` leaves out its own job and the jobs that wait for it."""
    script = f"{QUEUECTL} enqueue --id child --command true && {QUEUECTL} worker start --drain"
    parent = harness.add(script, id="parent", timeout=60)
    after = harness.add("true", after=["parent"])
    harness.start()
    assert parent.wait(timeout=90).state is State.COMPLETED
    assert harness.queue.job("child").state is State.COMPLETED
    assert after.wait(timeout=60).state is State.COMPLETED


def test_stop_inside_a_job(harness: WorkerHarness) -> None:
    """``worker stop`` waits for the other workers, and its own stops after the job."""
    job = harness.add(f"{QUEUECTL} worker stop", timeout=60)
    pool = harness.start(2)
    assert job.wait(timeout=90).state is State.COMPLETED
    assert job.log() == "2 worker(s) stopped.\n"
    assert pool.wait(60) == 0


def test_only_jobs_of_the_same_queue_are_enclosing(
    harness: WorkerHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of another queue is waited for, even if it has the same id; none can wait for itself or dependents."""
    harness.add("true", id="a")
    monkeypatch.setenv("QUEUECTL_JOB_ID", "a")
    monkeypatch.setenv("QUEUECTL_DB", str(tmp_path / "other.db"))
    assert enclosing_job(harness.path) is None
    with pytest.raises(WaitTimeout):
        harness.queue.wait(timeout=0)
    link = tmp_path / "link.db"
    link.symlink_to(harness.path)
    monkeypatch.setenv("QUEUECTL_DB", str(link))
    assert enclosing_job(harness.path) == "a"
    harness.queue.wait(timeout=0)
    with pytest.raises(BadInput, match="job a cannot wait for itself"):
        harness.queue.job("a").wait(timeout=0)
    harness.add("true", id="b", after=["a"])
    harness.add("true", id="c", after_any=["b"])
    with pytest.raises(BadInput, match="job a cannot wait for job c, which waits for it"):
        harness.queue.job("c").wait(timeout=0)
