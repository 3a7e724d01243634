"""``demo``: run five test flows on a temporary queue with real workers."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from queuectl_nb.client.wait import Wait
from queuectl_nb.commands.app import queuectl_command, run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.results import StartedPool, Stream
from queuectl_nb.model.errors import JobFailed, QueuectlError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.results import Result
    from queuectl_nb.model.job import JobRecord

__all__ = ["DemoRunner", "command"]

STEP_TIMEOUT_S = 15.0
"""Maximum duration of a step."""
POLL_INTERVAL_S = 0.02


class DemoRunner:
    """Runs command lines as a user would type them; :attr:`failures` counts the failed checks."""

    def __init__(self, open_queue: Callable[[str | None, bool], Queue]) -> None:
        """Use ``open_queue`` to open the temporary queue."""
        self.failures = 0
        self.pools: list[WorkerPool] = []
        self._open_queue = open_queue
        self._path = Path()

    def run_flows(self) -> Iterator[str]:
        """Run all flows and yield the output line by line."""
        from queuectl_nb.commands.demo_flows import FLOWS

        folder = Path(tempfile.mkdtemp(prefix="queuectl-demo-"))
        self._path = folder / "queue.db"
        began = time.monotonic()
        try:
            yield f"Temporary queue: {self._path}"
            for number, (title, flow) in enumerate(FLOWS, 1):
                yield f"\nFlow {number}: {title}"
                try:
                    yield from flow(self)
                except QueuectlError as error:
                    yield self.check(f"{error}", ok=False)
            outcome = f"{self.failures} check(s) failed" if self.failures else "All flows passed"
            yield f"\n{outcome} in {time.monotonic() - began:.1f} seconds."
        finally:
            for pool in self.pools:
                pool.stop(now=True)
            shutil.rmtree(folder, ignore_errors=True)

    def run_command(self, line: str) -> tuple[str, Result]:
        """Run a command line; return the line to show, and the result."""
        context = Context(self._open_queue)
        context.db = str(self._path)
        result = run_command_line(shlex.split(line), context)
        if isinstance(result, StartedPool):
            self.pools.append(result.pool)
        return f"  $ queuectl {line}", result

    def do(self, line: str) -> str:
        """Run a command line and return the line to show."""
        return self.run_command(line)[0]

    def check(self, text: str, *, ok: bool) -> str:
        """Return the line of a check; count it if it failed."""
        self.failures += not ok
        return f"  {'✓' if ok else '✗'} {text}"

    @property
    def queue(self) -> Queue:
        """The temporary queue."""
        return self._open_queue(str(self._path), False)

    def job(self, job_id: str) -> JobRecord:
        """Return the current record of a job."""
        return self.queue.store.jobs.get(job_id)

    def wait_until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; raise ``WaitTimeout`` if it does not in time."""
        deadline = time.monotonic() + STEP_TIMEOUT_S
        while not condition():
            if time.monotonic() > deadline:
                msg = f"not {what} after {STEP_TIMEOUT_S:g} seconds"
                raise WaitTimeout(msg)
            time.sleep(POLL_INTERVAL_S)

    def wait_finished(self, *ids: str) -> None:
        """Wait until the jobs have finished."""
        Wait(self.queue, ids, STEP_TIMEOUT_S).run()


@queuectl_command("demo", format_options=False, db_options=False)
@click.pass_obj
def command(context: Context) -> Stream:
    """Run five test flows on a temporary queue.

    Takes less than 40 seconds. The exit code is 1 if one of them fails.
    """
    from queuectl_nb.commands.demo import DemoRunner

    runner = DemoRunner(context.open_queue)
    return Stream(runner.run_flows(), lambda: JobFailed.exit_code if runner.failures else 0)
