"""Timeout, cancel and stop end all processes of a job in time."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from queuectl_nb.client.workers import list_workers
from queuectl_nb.engine.control import POLL_INTERVAL_S
from queuectl_nb.model.state import State
from tests.engine.harness import alive, job_processes, read_pid, time_out, until, within

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.harness import WorkerHarness

NASTY = {
    "plain": "sleep 60",
    "ignores TERM": "trap '' TERM; while :; do sleep 0.1; done",
    "children in other sessions": "setsid sleep 60 & setsid setsid sleep 60 & sleep 60",
    "daemon of a daemon": "(setsid sh -c '(sleep 60 &) ; sleep 60' &) ; sleep 60",
    "holds its output open": "(sleep 60 &) ; (sleep 60 >&2 &) ; sleep 60",
    "closed its output": "exec >/dev/null 2>&1 </dev/null; setsid sleep 60 & sleep 60",
    "empty environment": "env -i setsid sleep 60 & env -i sleep 60",
    "stopped itself": "kill -STOP $$; sleep 60",
    "forks in a loop": "f() { sleep 0.02; f & }; f; f; sleep 60",
    "prints without end": "yes",
}


@pytest.mark.parametrize("name", NASTY)
def test_timeout_kills_all_processes_in_time(harness: WorkerHarness, name: str, tmp_path: Path) -> None:
    """A job is over after timeout + grace + 1 second, and none of its processes is left."""
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; {NASTY[name]}", timeout=0, max_retries=1)
    pool = harness.start()
    shell = read_pid(first)
    with within(POLL_INTERVAL_S + 0.3 + 1):
        time_out(job, first)
        job.wait(timeout=60)
    assert (job.state, job.history[0].outcome) == (State.DEAD, "timed_out")
    assert "--timeout" in job.error
    assert not alive(shell)
    assert job_processes(harness.path) == []
    worker = harness.worker_pid()
    assert not [child for child in children(worker) if child != worker]
    assert pool.alive


def children(pid: int) -> list[int]:
    """Return the pids below a process."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def test_job_can_clean_up_on_sigterm(harness: WorkerHarness, tmp_path: Path) -> None:
    """SIGTERM comes first: a job that exits within the grace has time to clean up."""
    harness.queue.set("kill_grace", 10)
    first, done = tmp_path / "pid", tmp_path / "cleaned"
    job = harness.add(
        f"trap 'sleep 0.2; touch {done}; exit 0' TERM; echo $$ > {first}; while :; do sleep 0.05; done",
        timeout=0,
        max_retries=1,
    )
    harness.start()
    time_out(job, first)
    job.wait(timeout=60)
    assert harness.outcomes(job) == ["timed_out"]
    assert done.exists()


def test_cancel_kills_a_running_job(harness: WorkerHarness, tmp_path: Path) -> None:
    """Cancel returns when the job is cancelled and none of its processes is left."""
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; setsid sleep 60 & sleep 60")
    harness.start()
    shell = read_pid(first)
    job.cancel()
    assert (job.state, harness.outcomes(job)) == (State.CANCELLED, ["cancelled"])
    assert not alive(shell)
    assert job_processes(harness.path) == []


def test_cancel_of_a_job_whose_worker_is_dead(harness: WorkerHarness, tmp_path: Path) -> None:
    """If worker and supervisor are dead, cancel itself kills the leftover processes."""
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; sleep 60")
    pool = harness.start()
    shell = read_pid(first)
    worker = harness.worker_pid()
    os.kill(pool.pid, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    os.kill(pool.pid, signal.SIGKILL)
    pool.wait(60)
    assert alive(shell)
    job.cancel()
    assert job.state is State.CANCELLED
    assert not alive(shell)


def test_background_processes_end_with_the_shell(harness: WorkerHarness, tmp_path: Path) -> None:
    """Background processes are killed when the shell exits; the outcome is that of the shell."""
    left = tmp_path / "left"
    job = harness.add(f"(sleep 60 & echo $! > {left}) ; echo done")
    harness.start()
    job.wait(timeout=60)
    assert (job.state, job.log()) == (State.COMPLETED, "done\n")
    assert not alive(read_pid(left))


def test_timeout_follows_the_setting(harness: WorkerHarness, tmp_path: Path) -> None:
    """A changed timeout setting applies to a running job without its own timeout."""
    first = tmp_path / "pid"
    harness.queue.set("timeout", 0)
    job = harness.add(f"echo $$ > {first}; sleep 60", max_retries=1)
    harness.start()
    read_pid(first)
    harness.queue.set("timeout", 0.2)
    job.wait(timeout=50)  # not as long as the command
    assert harness.outcomes(job) == ["timed_out"]


def test_stop_now_releases_the_job(harness: WorkerHarness, tmp_path: Path) -> None:
    """``stop(now=True)`` kills the job and returns it to pending with no attempt used."""
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; trap '' TERM; setsid sleep 60 & while :; do sleep 0.1; done")
    pool = harness.start()
    shell = read_pid(first)
    pool.stop(now=True)
    assert (job.state, job.attempts, harness.outcomes(job)) == (State.PENDING, 0, ["returned"])
    assert not alive(shell)
    assert job_processes(harness.path) == []
    assert list_workers(harness.queue.store) == []


def test_drain_lets_the_running_job_finish(harness: WorkerHarness, tmp_path: Path) -> None:
    """A draining worker finishes its job and starts no other."""
    first, go = tmp_path / "pid", tmp_path / "go"
    running = harness.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.02; done")
    waiting = harness.add("true")
    pool = harness.start()
    read_pid(first)
    pool.stop(wait=False)
    until(lambda: list_workers(harness.queue.store)[0]["state"] in {"busy", "stopping"})
    go.touch()
    assert pool.wait(60) == 0
    assert (running.state, waiting.state, waiting.attempts) == (State.COMPLETED, State.PENDING, 0)
