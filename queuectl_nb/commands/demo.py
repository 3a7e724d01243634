"""``demo``: run five test flows on a temporary queue with real workers."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from queuectl_nb.client.wait import Wait
from queuectl_nb.client.workers import list_workers
from queuectl_nb.commands.app import PROGRAM, queuectl_command, run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.results import Output, StartedPool, Stream
from queuectl_nb.model.errors import BadEnvironment, JobFailed, QueuectlError, WaitTimeout
from queuectl_nb.model.state import State
from queuectl_nb.store.os_errors import os_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.results import Result
    from queuectl_nb.model.job import JobRecord

__all__ = ["Demo", "demo_command", "next_steps"]

STEP_TIMEOUT_S = 15.0
"""Maximum duration of a step."""
POLL_INTERVAL_S = 0.02


@queuectl_command("demo", format_options=False, db_options=False)
def demo_command(context: Context) -> Stream:
    """Run five test flows on a temporary queue.

    Takes less than 40 seconds. The exit code is 1 if one of them fails.
    """
    return Stream(lambda write: Demo(context.open_queue, write).run_flows())


class Demo:
    """Runs command lines as a user would type them, and counts the checks that fail."""

    def __init__(self, open_queue: Callable[[str | None, bool, bool], Queue], write: Callable[[str], object]) -> None:
        """Open the temporary queue with ``open_queue``; write each line of output with ``write``."""
        self.failures = 0
        self.pools: list[WorkerPool] = []
        self.open_queue = open_queue
        self.write = write

    def run_flows(self) -> int:
        """Run all flows and return the exit code."""
        try:
            folder = Path(tempfile.mkdtemp(prefix="queuectl-demo-"))
        except OSError as error:
            raise BadEnvironment(f"no temporary queue can be created ({os_reason(error)}); set TMPDIR") from None
        self.path = str(folder / "queue.db")
        self.queue = self.open_queue(self.path, False, True)
        began = time.monotonic()
        self.write(f"Temporary queue: {self.path}")
        try:
            for number, (title, flow) in enumerate(FLOWS, 1):
                self.write(f"\nFlow {number}: {title}")
                try:
                    flow(self)
                except QueuectlError as error:
                    self.check(f"{error}", ok=False)
            outcome = f"{self.failures} check(s) failed" if self.failures else "All flows passed"
            self.write(f"\n{outcome} in {time.monotonic() - began:.1f} seconds.")
            if not self.failures:
                for line in next_steps():
                    self.write(line)
        finally:
            for pool in self.pools:
                pool.stop(now=True)
            shutil.rmtree(folder, ignore_errors=True)
        return JobFailed.exit_code if self.failures else 0

    def run(self, line: str) -> Result:
        """Show and run a command line."""
        self.write(f"  $ queuectl {line}")
        context = Context(self.open_queue)
        context.db = self.path
        result = run_command_line(shlex.split(line), context)
        if isinstance(result, StartedPool):
            self.pools.append(result.pool)
        return result

    def check(self, text: str, *, ok: bool) -> None:
        """Show the result of a check; count it if it failed."""
        self.failures += not ok
        self.write(f"  {'✓' if ok else '✗'} {text}")

    def job(self, job_id: str) -> JobRecord:
        """Return the current record of a job."""
        return self.queue.store.jobs.get(job_id)

    def wait_for_state(self, job_id: str, *states: State) -> None:
        """Wait until a job is in one of the states; raise ``WaitTimeout`` if that takes too long."""
        deadline = time.monotonic() + STEP_TIMEOUT_S
        while self.job(job_id).state not in states:
            if time.monotonic() > deadline:
                raise WaitTimeout(f"{job_id} is not {' or '.join(states)} after {STEP_TIMEOUT_S:g} seconds")
            time.sleep(POLL_INTERVAL_S)

    def wait_finished(self, *ids: str) -> None:
        """Wait until the jobs have finished."""
        Wait(self.queue, ids, STEP_TIMEOUT_S).run()


def next_steps() -> Iterator[str]:
    """Yield the commands to try next, after the one that makes ``queuectl`` available if it is not on ``PATH``."""
    yield "\nNext steps:"
    activate = Path(sys.prefix, "bin/activate")
    if shutil.which(PROGRAM) is None and activate.exists():
        yield f"  $ source {shlex.quote(str(activate))}"
    yield from (f"  $ {PROGRAM} {args}" for args in ("enqueue -- echo hello", "worker start --drain", "list", "help"))


def _happy_path(demo: Demo) -> None:
    """Enqueue a job, run it and read its log."""
    demo.run("worker start --count 2")
    demo.run("""enqueue --id job-success --command "echo 'This job worked'\"""")
    demo.wait_finished("job-success")
    job = demo.job("job-success")
    demo.check(f"job-success is {job.state} after {job.attempts} attempt", ok=job.state is State.COMPLETED)
    result = demo.run("log job-success")
    said = b"".join(data for _, data in result.chunks()) if isinstance(result, Output) else b""
    demo.check(f"its log says {said.decode().strip()!r}", ok=said == b"This job worked\n")


def _failure(demo: Demo) -> None:
    """Let a job fail, be retried with backoff, die, and be retried from the dead letter queue."""
    demo.run("config set backoff_max 1")
    demo.run("enqueue --id job-fail --command this-command-does-not-exist")
    demo.wait_for_state("job-fail", State.FAILED, State.DEAD)
    demo.check("job-fail is failed and waits for its retry", ok=demo.job("job-fail").state is State.FAILED)
    demo.wait_finished("job-fail")
    job = demo.job("job-fail")
    demo.check(f"after {job.attempts} attempts it is {job.state}", ok=(job.state, job.attempts) == (State.DEAD, 3))
    history = demo.queue.store.reader.attempts("job-fail")
    pauses = [later.started_at - (one.finished_at or 0) for one, later in pairwise(history)]
    delays = ", ".join(f"{pause:.2f}" for pause in pauses)
    demo.check(f"the delays between them were {delays} seconds", ok=len(pauses) == 2 and min(pauses) >= 1)
    demo.run("dlq list")
    demo.run("dlq retry job-fail")
    demo.wait_finished("job-fail")
    number = len(demo.queue.store.reader.attempts("job-fail"))
    demo.check(f"after the retry it had a fresh budget: {number} attempts in its history", ok=number == 6)


def _priority(demo: Demo) -> None:
    """Run two jobs at the same time, and a job of high priority before one that waits longer."""
    for job_id in ("job-low-1", "job-low-2"):
        demo.run(f'enqueue --id {job_id} --command "sleep 1.5" --priority 1')
    demo.wait_for_state("job-low-1", State.PROCESSING)
    demo.wait_for_state("job-low-2", State.PROCESSING)
    together = demo.job("job-low-1").state is State.PROCESSING
    demo.check("job-low-1 and job-low-2 run at the same time", ok=together)
    demo.run('enqueue --id job-low-3 --command "echo patience" --priority 1')
    demo.run("""enqueue --id job-high --command "echo 'I AM HIGH PRIORITY'" --priority 100""")
    demo.wait_finished("job-low-1", "job-low-2", "job-low-3", "job-high")
    first, second = (demo.job(job_id).started_at or 0 for job_id in ("job-high", "job-low-3"))
    demo.check("job-high started before job-low-3, which had waited longer", ok=first < second)


def _schedule(demo: Demo) -> None:
    """Change a setting live, delay a job, and let a job time out."""
    demo.run("config set backoff_base 10")
    base = demo.queue.settings.backoff_base
    demo.check(f"backoff_base is {base:g}, without a restart", ok=base == 10)
    demo.run("""enqueue --id job-delayed --command "echo 'I am 2 s late'" --delay 2""")
    demo.run('enqueue --id job-timeout --command "sleep 40" --timeout 1 --max-retries 1')
    demo.wait_finished("job-delayed", "job-timeout")
    job = demo.job("job-delayed")
    late = (job.started_at or 0) - job.created_at
    demo.check(f"job-delayed started {late:.2f} seconds after its enqueue", ok=2 <= late < 4)
    job = demo.job("job-timeout")
    demo.check(f"job-timeout is {job.state}: {job.error}", ok="timed out after 1 second" in (job.error or ""))


def _crash(demo: Demo) -> None:
    """Kill workers and their supervisor at once; another worker recovers the job."""
    pool = demo.pools[-1]
    demo.run('enqueue --id job-long --command "sleep 1; echo survived"')
    demo.wait_for_state("job-long", State.PROCESSING)
    held_by = demo.job("job-long").worker
    os.kill(pool.pid, signal.SIGSTOP)  # so that it cannot clean up after its workers
    for pid in (*(worker["pid"] for worker in list_workers(demo.queue.store)), pool.pid):
        os.kill(pid, signal.SIGKILL)
    pool.wait()
    demo.write(f"  (kill -9 of {held_by} and its supervisor)")
    demo.run("list --state processing")
    left = demo.job("job-long").state
    demo.check("job-long is processing, but no worker is alive", ok=left is State.PROCESSING)
    demo.run("worker start")
    demo.wait_finished("job-long")
    job = demo.job("job-long")
    text = f"job-long is {job.state}; the crash cost it one attempt of {job.attempts}"
    demo.check(text, ok=(job.state, job.attempts) == (State.COMPLETED, 2))
    demo.run("worker stop")
    demo.check("no worker is left", ok=not list_workers(demo.queue.store))
    rescued = [event for event in demo.pools[-1].events() if event["event"] == "rescued"]
    lines = [f"Rescuing stale job: {event['job']} (was locked by {event['was']})" for event in rescued]
    expected = f"Rescuing stale job: job-long (was locked by {held_by})"
    demo.check(f"the new worker said: {'; '.join(lines) or 'nothing'}", ok=lines == [expected])


FLOWS: tuple[tuple[str, Callable[[Demo], None]], ...] = (
    ("the happy path (success and logging)", _happy_path),
    ("failure, retry, backoff and the dead letter queue", _failure),
    ("concurrency and priority", _priority),
    ("settings, scheduling and timeout", _schedule),
    ("persistence and the rescue of stale jobs", _crash),
)
