"""The five flows of ``demo``, as the seed's README tells them: sleep for ping, and shorter times."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from typing import TYPE_CHECKING

from queuectl_nb.commands.results import Output
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.commands.demo import DemoRunner

__all__ = ["FLOWS", "crash", "failure", "happy_path", "priority", "schedule"]


def happy_path(stage: DemoRunner) -> Iterator[str]:
    """Play: a job is enqueued, run and logged."""
    yield stage.do("worker start --count 2")
    yield stage.do("""enqueue --id job-success --command "echo 'This job worked'\"""")
    stage.wait_finished("job-success")
    job = stage.job("job-success")
    yield stage.check(f"job-success is {job.state} after {job.attempts} attempt", ok=job.state is State.COMPLETED)
    shown, result = stage.run_command("log job-success")
    yield shown
    said = b"".join(data for _, data in result.chunks()) if isinstance(result, Output) else b""
    yield stage.check(f"its log says {said.decode().strip()!r}", ok=said == b"This job worked\n")


def failure(stage: DemoRunner) -> Iterator[str]:
    """Play: a job fails, is retried with pauses, dies, and is brought back."""
    yield stage.do("config set backoff_max 1")
    yield stage.do("enqueue --id job-fail --command this-command-does-not-exist")
    stage.wait_until("failed once", lambda: stage.job("job-fail").state in (State.FAILED, State.DEAD))
    yield stage.check("job-fail is failed and waits for its retry", ok=stage.job("job-fail").state is State.FAILED)
    stage.wait_finished("job-fail")
    job = stage.job("job-fail")
    yield stage.check(
        f"after {job.attempts} attempts it is {job.state}", ok=(job.state, job.attempts) == (State.DEAD, 3)
    )
    history = stage.queue.store.reader.attempts("job-fail")
    pauses = [later.started_at - (one.finished_at or 0) for one, later in pairwise(history)]
    longest = f"the pauses between them were {', '.join(f'{pause:.2f}' for pause in pauses)} seconds"
    yield stage.check(longest, ok=len(pauses) == 2 and min(pauses) >= 1)
    yield stage.do("dlq list")
    yield stage.do("dlq retry job-fail")
    stage.wait_finished("job-fail")
    number = len(stage.queue.store.reader.attempts("job-fail"))
    yield stage.check(f"brought back, it had a fresh budget: {number} attempts in its history", ok=number == 6)


def priority(stage: DemoRunner) -> Iterator[str]:
    """Play: two jobs run side by side, and the urgent one goes before what waits longer."""
    low = ("job-low-1", "job-low-2")
    for job_id in low:
        yield stage.do(f'enqueue --id {job_id} --command "sleep 1.5" --priority 1')
    stage.wait_until("both running", lambda: all(stage.job(job_id).state is State.PROCESSING for job_id in low))
    yield stage.check("job-low-1 and job-low-2 run at the same time", ok=True)
    yield stage.do('enqueue --id job-low-3 --command "echo patience" --priority 1')
    yield stage.do("""enqueue --id job-high --command "echo 'I AM HIGH PRIORITY'" --priority 100""")
    stage.wait_finished(*low, "job-low-3", "job-high")
    first, second = (stage.job(job_id).started_at or 0 for job_id in ("job-high", "job-low-3"))
    yield stage.check("job-high started before job-low-3, which had waited longer", ok=first < second)


def schedule(stage: DemoRunner) -> Iterator[str]:
    """Play: settings are live, a delayed job is not early, a long one is ended in time."""
    yield stage.do("config set backoff_base 10")
    base = stage.queue.settings.backoff_base
    yield stage.check(f"backoff_base is {base:g}, without a restart", ok=base == 10)
    yield stage.do("""enqueue --id job-delayed --command "echo 'I am 2 s late'" --delay 2""")
    yield stage.do('enqueue --id job-timeout --command "sleep 40" --timeout 1 --max-retries 1')
    stage.wait_finished("job-delayed", "job-timeout")
    job = stage.job("job-delayed")
    late = (job.started_at or 0) - job.created_at
    yield stage.check(f"job-delayed started {late:.2f} seconds after its enqueue", ok=2 <= late < 4)
    job = stage.job("job-timeout")
    yield stage.check(f"job-timeout is {job.state}: {job.error}", ok="timed out after 1 second" in (job.error or ""))


def crash(stage: DemoRunner) -> Iterator[str]:
    """Play: workers and their pool die at once; others take over what they held."""
    pool = stage.pools[-1]
    yield stage.do('enqueue --id job-long --command "sleep 1; echo survived"')
    stage.wait_until("running", lambda: stage.job("job-long").state is State.PROCESSING)
    held_by = stage.job("job-long").worker
    _kill_all(stage, pool)
    yield f"  (kill -9 of {held_by} and of everything that looks after it)"
    shown, _ = stage.run_command("list --state processing")
    yield shown
    yield stage.check("job-long is stuck: nobody runs it", ok=stage.job("job-long").state is State.PROCESSING)
    yield stage.do("worker start")
    stage.wait_finished("job-long")
    job = stage.job("job-long")
    told = f"job-long is {job.state}; the crash cost it one attempt of {job.attempts}"
    yield stage.check(told, ok=(job.state, job.attempts) == (State.COMPLETED, 2))
    yield stage.do("worker stop")
    yield stage.check("no worker is left", ok=not stage.queue.worker_list())
    rescued = [event for event in stage.pools[-1].events() if event["event"] == "rescued"]
    lines = [f"Rescuing stale job: {event['job']} (was locked by {event['was']})" for event in rescued]
    expected = f"Rescuing stale job: job-long (was locked by {held_by})"
    yield stage.check(f"the new worker said: {'; '.join(lines) or 'nothing'}", ok=lines == [expected])


def _kill_all(stage: DemoRunner, pool: WorkerPool) -> None:
    """Kill a pool and its workers so that none has time to clean up behind another."""
    os.kill(pool.pid, signal.SIGSTOP)
    for worker in stage.queue.worker_list():
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
