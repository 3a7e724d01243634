"""The helpers of ``queuectl_nb.testing`` and the pytest fixture."""

from __future__ import annotations

import gc
import os
import select
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest

import queuectl_nb
from queuectl_nb import BadInput, JobCancelled, Queue, Retry, WaitTimeout, current_job, report
from queuectl_nb.engine.notifier import FinishWaiter, waiter_dir
from queuectl_nb.testing import assert_enqueued, run_pending, temporary_queue
from tests.client.job_functions import add, fail
from tests.engine.harness import alive, job_processes, read_pid

ROOT = Path(queuectl_nb.__file__).parents[1]


def test_a_temporary_queue_is_empty_private_and_deleted() -> None:
    """Two temporary queues share nothing, and nothing is left of them."""
    with temporary_queue() as first, temporary_queue() as second:
        first.enqueue("true", id="a")
        assert second.jobs().empty
        assert first.path.stat().st_mode & 0o777 == 0o600
    assert not first.path.parent.exists()
    assert not second.path.parent.exists()


def test_run_pending(queue: Queue, tmp_path: Path) -> None:
    """Jobs run by priority and dependencies; output, environment, directory, result and exit code are recorded."""
    queue.enqueue("pwd; echo $GREETING; echo $QUEUECTL_JOB_ID >&2", id="low", cwd=tmp_path, env={"GREETING": "hello"})
    queue.enqueue('echo "{\\"loss\\": 1}" > $QUEUECTL_RESULT', id="high", priority=5)
    queue.enqueue("exit 3", id="next", after="low", max_retries=1)
    assert [job.id for job in run_pending(queue)] == ["high", "low", "next"]
    low, high, after = (queue.job(job_id) for job_id in ("low", "high", "next"))
    assert (low.log("stdout"), low.log("stderr")) == (f"{tmp_path}\nhello\n", "low\n")
    assert (high.state, high.result()) == ("completed", {"loss": 1})
    assert (after.state, after.exit_code, after.worker) == ("dead", 3, "testing")
    assert run_pending(queue) == []
    assert list(queue.store.spool.tokens()) == []


def test_run_pending_skips_what_is_not_due(queue: Queue) -> None:
    """Delayed jobs, retries in their backoff and paused queues wait; an unfinished job is not returned."""
    queue.enqueue("true", id="delayed", delay=1000)
    queue.enqueue("true", id="paused", queue="gpu")
    queue.pause("gpu")
    queue.enqueue("exit 1", id="failing")
    assert run_pending(queue) == []
    assert [queue.job(each).state for each in ("delayed", "paused", "failing")] == ["pending", "pending", "failed"]


def test_a_timeout_and_a_missing_directory_are_recorded(queue: Queue, tmp_path: Path) -> None:
    """The time limit ends the job; a directory that was removed is a job that cannot start."""
    gone = tmp_path / "gone"
    gone.mkdir()
    queue.enqueue("sleep 60 & sleep 60", id="slow", timeout=0.1, max_retries=1)
    queue.enqueue("true", id="nowhere", cwd=gone, max_retries=1)
    gone.rmdir()
    assert [job.id for job in run_pending(queue)] == ["slow", "nowhere"]
    assert [queue.job(each).history[-1].outcome for each in ("slow", "nowhere")] == ["timed_out", "not_started"]


def test_run_pending_ends_jobs_as_a_worker_does(queue: Queue, tmp_path: Path) -> None:
    """SIGTERM comes first; no process is left, whatever its session; waiting processes are notified."""
    queue.enqueue("trap 'echo bye; exit' TERM; while :; do sleep 0.05; done", id="slow", timeout=2, max_retries=1)
    hidden = tmp_path / "hidden"
    queue.enqueue(
        f"setsid sleep 600 >/dev/null 2>&1 & env -i sleep 600 >/dev/null 2>&1 & echo $! > {hidden}; echo hello",
        id="leaves",
    )
    here = Path.cwd()
    with FinishWaiter(waiter_dir(queue.store.db.spool)) as waiter:
        waiter.open()
        assert [job.id for job in run_pending(queue)] == ["slow", "leaves"]
        assert waiter.handle is not None
        assert select.select([waiter.handle], [], [], 0)[0] == [waiter.handle]
    assert job_processes(queue.path) == []
    assert not alive(read_pid(hidden))
    slow, leaves = queue.job("slow"), queue.job("leaves")
    assert (slow.history[-1].outcome, slow.log("stdout")) == ("timed_out", "bye\n")
    assert (leaves.state, leaves.log("stdout")) == ("completed", "hello\n")
    assert Path.cwd() == here


def test_long_output_is_kept(queue: Queue) -> None:
    """Output over the limit of the database stays in the spool, as with workers."""
    queue.set("output_limit", 10)
    queue.enqueue("seq 1 1000", id="long")
    run_pending(queue)
    assert queue.job("long").log().splitlines() == [str(n) for n in range(1, 1001)]


def test_an_enqueued_job_is_found_by_its_fields(queue: Queue) -> None:
    """The first match is returned; without one the error lists the jobs; an unknown field is refused."""
    queue.enqueue("train --lr 1", id="a", tags=["x", "y"], priority=3)
    queue.enqueue("train --lr 2", id="b", tags=["x", "y"])
    assert assert_enqueued(queue, command="train --lr 2").id == "b"
    assert assert_enqueued(queue, tags=("x", "y")).id == "a"
    with pytest.raises(AssertionError, match=r"train --lr 1.*'priority': 3"):
        assert_enqueued(queue, command="train --lr 1", priority=4)
    with pytest.raises(BadInput, match="prio"):
        assert_enqueued(queue, prio=4)


def test_the_fixture_gives_an_empty_queue(tmp_path: Path) -> None:
    """The plugin that the entry point names offers ``queuectl_queue``, and importing it loads no queue code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"queuectl_nb": "queuectl_nb.pytest_plugin"}
    (tmp_path / "test_user.py").write_text(
        "import sys\n"
        "def test_plugin_is_light():\n"
        "    assert 'queuectl_nb.client' not in sys.modules and 'sqlite3' not in sys.modules\n"
        "def test_queue(queuectl_queue):\n"
        "    assert queuectl_queue.enqueue('true').id == 'job-1'\n"
    )
    plugin = ["-p", "queuectl_nb.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "test_user.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------------- Queue.inline


def test_inline_functions_run_at_once() -> None:
    """``submit`` returns a job that has finished in this process; ``map``, chunks and fan-in work."""
    queue, argv = Queue.inline(), sys.argv
    assert queue.submit(os.getpid).result() == os.getpid()
    one, two = queue.submit(add, 1), queue.submit(add, 2)
    assert (one.state, one.to_dict()["result"], one.history[0].worker) == ("completed", 2, "testing")
    assert queue.submit(sum, [one, two]).result() == 5
    assert queue.map(add, range(5), chunksize=2).results() == [1, 2, 3, 4, 5]
    assert {job.id for job in queue.as_completed([two, one])} == {one.id, two.id}
    with queue.executor() as executor:
        assert list(executor.map(add, [1, 2])) == [2, 3]
    assert queue.enqueue("echo hello").log() == "hello\n"
    assert len(queue.jobs()) == len(queue.attempts()) == 10
    assert sys.argv is argv


def test_inline_errors_and_retries() -> None:
    """Errors are those of the function; retries do not wait, and a failed dependency cancels."""
    queue = Queue.inline()

    def second_time() -> tuple[int, str]:
        job = current_job()
        assert job is not None
        if job.attempt == 1:
            raise Retry("later", after=3600)
        report(progress=0.5, loss=2)
        (job.artifacts / "model").write_text("weights")
        return job.attempt, job.id

    job = queue.submit(second_time)
    assert job.result() == (2, job.id)
    assert [attempt.error for attempt in job.history] == ["Retry: later", None]
    assert job.artifacts["model"].read_text() == "weights"
    assert job.metrics == {"loss": 2}
    assert current_job() is None
    failing = queue.task(fail, max_retries=2).submit("bad rate")
    with pytest.raises(ValueError, match="bad rate"):
        failing.result()
    assert (failing.state, failing.attempts) == ("dead", 2)
    with pytest.raises(JobCancelled):
        queue.submit(add, failing).result()
    with pytest.raises(BadInput, match="argument x of add cannot be pickled"):
        queue.submit(add, threading.Lock())
    assert queue.task(sys.exit, max_retries=1).submit(3).exit_code == 3
    failing.retry()
    assert failing.attempts == 2


def test_inline_jobs_that_cannot_run_now() -> None:
    """A delayed job, and one in a paused queue, is not waited for; the latter runs when the queue is resumed."""
    queue = Queue.inline()
    delayed = queue.task(add, delay=3600).submit(1)
    queue.pause("gpu")
    paused = queue.task(add, queue="gpu").submit(1)
    for job in (delayed, paused):
        with pytest.raises(WaitTimeout):
            job.result()
    queue.resume("gpu")
    assert paused.result() == 2


def test_inline_jobs_within_a_job() -> None:
    """A function that submits to its queue gets values at once, too; the directory goes with the queue."""
    queue = Queue.inline()
    folder = queue.path.parent

    def outer(inner: Queue) -> Any:
        value = inner.submit(add, 1).result()
        job = current_job()
        assert job is not None
        assert job.id == "job-1"
        return value

    assert queue.submit(outer, queue).result() == 2
    del queue
    gc.collect()
    assert not folder.exists()
