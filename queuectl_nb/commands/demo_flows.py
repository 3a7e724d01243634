"""The five flows of ``demo``."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from typing import TYPE_CHECKING

from queuectl_nb.client.workers import list_workers
from queuectl_nb.commands.results import Output
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.commands.demo import DemoRunner

__all__ = ["FLOWS", "crash", "failure", "happy_path", "priority", "schedule"]


def happy_path(runner: DemoRunner) -> Iterator[str]:
    """Enqueue a job, run it and read its log."""
    yield runner.do("worker start --count 2")
    yield runner.do("""enqueue --id job-success --command "echo 'This job worked'\"""")
    runner.wait_finished("job-success")
    job = runner.job("job-success")
    yield runner.check(f"job-success is {job.state} after {job.attempts} attempt", ok=job.state is State.COMPLETED)
    shown, result = runner.run_command("log job-success")
    yield shown
    said = b"".join(data for _, data in result.chunks()) if isinstance(result, Output) else b""
    yield runner.check(f"its log says {said.decode().strip()!r}", ok=said == b"This job worked\n")


def failure(runner: DemoRunner) -> Iterator[str]:
    """Let a job fail, be retried with backoff, die, and be retried from the dead letter queue."""
    yield runner.do("config set backoff_max 1")
    yield runner.do("enqueue --id job-fail --command this-command-does-not-exist")
    runner.wait_until("failed once", lambda: runner.job("job-fail").state in (State.FAILED, State.DEAD))
    yield runner.check("job-fail is failed and waits for its retry", ok=runner.job("job-fail").state is State.FAILED)
    runner.wait_finished("job-fail")
    job = runner.job("job-fail")
    yield runner.check(
        f"after {job.attempts} attempts it is {job.state}", ok=(job.state, job.attempts) == (State.DEAD, 3)
    )
    history = runner.queue.store.reader.attempts("job-fail")
    pauses = [later.started_at - (one.finished_at or 0) for one, later in pairwise(history)]
    longest = f"the delays between them were {', '.join(f'{pause:.2f}' for pause in pauses)} seconds"
    yield runner.check(longest, ok=len(pauses) == 2 and min(pauses) >= 1)
    yield runner.do("dlq list")
    yield runner.do("dlq retry job-fail")
    runner.wait_finished("job-fail")
    number = len(runner.queue.store.reader.attempts("job-fail"))
    yield runner.check(f"after the retry it had a fresh budget: {number} attempts in its history", ok=number == 6)


def priority(runner: DemoRunner) -> Iterator[str]:
    """Run two jobs at the same time, and a job of high priority before one that waits longer."""
    low = ("job-low-1", "job-low-2")
    for job_id in low:
        yield runner.do(f'enqueue --id {job_id} --command "sleep 1.5" --priority 1')
    runner.wait_until("both running", lambda: all(runner.job(job_id).state is State.PROCESSING for job_id in low))
    yield runner.check("job-low-1 and job-low-2 run at the same time", ok=True)
    yield runner.do('enqueue --id job-low-3 --command "echo patience" --priority 1')
    yield runner.do("""enqueue --id job-high --command "echo 'I AM HIGH PRIORITY'" --priority 100""")
    runner.wait_finished(*low, "job-low-3", "job-high")
    first, second = (runner.job(job_id).started_at or 0 for job_id in ("job-high", "job-low-3"))
    yield runner.check("job-high started before job-low-3, which had waited longer", ok=first < second)


def schedule(runner: DemoRunner) -> Iterator[str]:
    """Change a setting live, delay a job, and let a job time out."""
    yield runner.do("config set backoff_base 10")
    base = runner.queue.settings.backoff_base
    yield runner.check(f"backoff_base is {base:g}, without a restart", ok=base == 10)
    yield runner.do("""enqueue --id job-delayed --command "echo 'I am 2 s late'" --delay 2""")
    yield runner.do('enqueue --id job-timeout --command "sleep 40" --timeout 1 --max-retries 1')
    runner.wait_finished("job-delayed", "job-timeout")
    job = runner.job("job-delayed")
    late = (job.started_at or 0) - job.created_at
    yield runner.check(f"job-delayed started {late:.2f} seconds after its enqueue", ok=2 <= late < 4)
    job = runner.job("job-timeout")
    yield runner.check(f"job-timeout is {job.state}: {job.error}", ok="timed out after 1 second" in (job.error or ""))


def crash(runner: DemoRunner) -> Iterator[str]:
    """Kill workers and their supervisor at once; another worker recovers the job."""
    pool = runner.pools[-1]
    yield runner.do('enqueue --id job-long --command "sleep 1; echo survived"')
    runner.wait_until("running", lambda: runner.job("job-long").state is State.PROCESSING)
    held_by = runner.job("job-long").worker
    _kill_all(runner, pool)
    yield f"  (kill -9 of {held_by} and its supervisor)"
    shown, _ = runner.run_command("list --state processing")
    yield shown
    yield runner.check(
        "job-long is processing, but no worker is alive", ok=runner.job("job-long").state is State.PROCESSING
    )
    yield runner.do("worker start")
    runner.wait_finished("job-long")
    job = runner.job("job-long")
    text = f"job-long is {job.state}; the crash cost it one attempt of {job.attempts}"
    yield runner.check(text, ok=(job.state, job.attempts) == (State.COMPLETED, 2))
    yield runner.do("worker stop")
    yield runner.check("no worker is left", ok=not list_workers(runner.queue.store))
    rescued = [event for event in runner.pools[-1].events() if event["event"] == "rescued"]
    lines = [f"Rescuing stale job: {event['job']} (was locked by {event['was']})" for event in rescued]
    expected = f"Rescuing stale job: job-long (was locked by {held_by})"
    yield runner.check(f"the new worker said: {'; '.join(lines) or 'nothing'}", ok=lines == [expected])


def _kill_all(runner: DemoRunner, pool: WorkerPool) -> None:
    """Kill a pool and its workers so that none can clean up after another."""
    os.kill(pool.pid, signal.SIGSTOP)
    for worker in list_workers(runner.queue.store):
        os.kill(worker["pid"], signal.SIGKILL)
    os.kill(pool.pid, signal.SIGKILL)
    pool.wait()


FLOWS: tuple[tuple[str, Callable[[DemoRunner], Iterator[str]]], ...] = (
    ("the happy path (success and logging)", happy_path),
    ("failure, retry, backoff and the dead letter queue", failure),
    ("concurrency and priority", priority),
    ("settings, scheduling and timeout", schedule),
    ("persistence and the rescue of stale jobs", crash),
)
