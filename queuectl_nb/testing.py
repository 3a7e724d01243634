"""Helpers for testing code that uses a queue: no worker processes, no shared files.

>>> from queuectl_nb import Queue
>>> from queuectl_nb.testing import assert_enqueued, run_pending, temporary_queue
>>> with temporary_queue() as queue:
...     _ = queue.enqueue("echo hello", id="greeting", priority=5)
...     job = assert_enqueued(queue, command="echo hello", priority=5)
...     [finished] = run_pending(queue)
...     print(finished.id, finished.state, finished.log().strip())
greeting completed hello

>>> queue = Queue.inline()  # functions run at once, in this process
>>> queue.submit(max, [1, 3, 2]).result()
3

With pytest the fixture ``queuectl_queue`` gives each test a temporary queue.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import tempfile
import threading
import time
import weakref
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from queuectl_nb.client import Job, Queue
from queuectl_nb.model.call import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from queuectl_nb.client.arguments import Jobs
    from queuectl_nb.engine.local_executor import LocalExecutor
    from queuectl_nb.model.attempt import Ending, Lease
    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.model.state import State
    from queuectl_nb.store.claims import EndedAttempt
    from queuectl_nb.store.store import Store

__all__ = ["InlineQueue", "assert_enqueued", "run_pending", "temporary_queue"]

WORKER_NAME = "testing"
POLL_INTERVAL_S = 0.002
"""Interval at which a running command is checked."""


class InlineQueue(Queue):
    """A queue without workers, whose jobs run while they are enqueued.

    Functions are called in this process, so that a debugger, a coverage tool and patches see them; their output is not
    kept in a log. Otherwise they run as in a job: arguments, closures and values are pickled copies, dependencies and
    retries are followed, ``current_job()`` and ``report()`` work, and ``submit`` returns the job, whose ``result()``
    raises what the function raised. Retries do not wait. A ``timeout`` has no effect, and the exit of a function by
    ``os._exit`` or a signal ends this process. Everything else runs as in :func:`run_pending`.

    Waiting for a job that cannot run now (delayed, in a paused queue) raises ``WaitTimeout`` at once.

    Examples
    --------
    >>> queue = Queue.inline()
    >>> job = queue.submit(int, "seven")
    >>> str(job.state), job.attempts, job.error
    ('dead', 3, "ValueError: invalid literal for int() with base 10: 'seven'")
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        super().__init__(path, **options)
        self._lock = threading.RLock()
        self.store.run_inline = self._run

    @classmethod
    def create(cls) -> InlineQueue:
        """Return a queue in a temporary directory, which is deleted with it."""
        folder = tempfile.mkdtemp(prefix="queuectl-")
        queue = cls(_new_file(folder))
        weakref.finalize(queue, shutil.rmtree, folder, ignore_errors=True)
        return queue

    def _run(self) -> None:
        with self._lock:  # the variables of a job are those of the process
            _run_due(self, inline=True)

    def wait(self, *jobs: Jobs, timeout: float | str | None = None, **options: Any) -> dict[State, int]:
        """Return at once, or raise ``WaitTimeout``."""
        return super().wait(*jobs, timeout=0, **options)

    def as_completed(self, jobs: Iterable[Job], timeout: float | str | None = None) -> Iterator[Job]:
        """Yield jobs that have finished, and raise ``WaitTimeout`` if there are others."""
        return super().as_completed(jobs, timeout=0)


@contextlib.contextmanager
def temporary_queue() -> Iterator[Queue]:
    """Give an empty queue in a temporary directory; it is deleted at the end of the block.

    Examples
    --------
    >>> with temporary_queue() as queue:
    ...     print(queue.enqueue("true").state)
    pending
    """
    with tempfile.TemporaryDirectory(prefix="queuectl-") as folder:
        queue = Queue(_new_file(folder))
        try:
            yield queue
        finally:
            queue.close()


def _new_file(folder: str) -> Path:
    """Write the file of an empty queue into ``folder`` and return its path."""
    path = Path(folder, "queue.db")
    path.touch(0o600)
    path.write_bytes(_empty_queue())
    return path


@cache
def _empty_queue() -> bytes:
    """Return the file of an empty queue; creating the schema is slow, so it is done once per process."""
    with tempfile.TemporaryDirectory(prefix="queuectl-") as folder:
        path = Path(folder, "queue.db")
        Queue(path).close()
        return path.read_bytes()


def assert_enqueued(queue: Queue, command: str | None = None, **fields: Any) -> Job:
    """Return the first job with this command and these fields; raise ``AssertionError`` if there is none.

    Parameters
    ----------
    queue
        The queue to search.
    command
        The exact command; None matches every command.
    fields
        Expected values of JSON fields: ``id``, ``state``, ``priority``, ``queue``, ``tags`` (a list) and so on.

    Examples
    --------
    >>> with temporary_queue() as queue:
    ...     _ = queue.enqueue("python train.py", tags=["train"])
    ...     assert_enqueued(queue, command="python train.py", tags=["train"]).id
    'job-1'
    """
    from queuectl_nb.model.job import JOB_FIELDS
    from queuectl_nb.model.validation import parse_choice
    from queuectl_nb.render.json_shapes import job_json
    from queuectl_nb.store.job_filter import Filter

    expected = {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}
    for key in expected:
        parse_choice("job field", key, JOB_FIELDS)
    if command is not None:
        expected["command"] = command
    jobs = [job_json(record) for record in sorted(queue.store.reader.jobs(Filter()), key=lambda record: record.seq)]
    for job in jobs:
        if all(job[key] == value for key, value in expected.items()):
            return queue.job(job["id"])
    shown = [{key: job[key] for key in {"id": None, **expected}} for job in jobs]
    raise AssertionError(f"no job with {expected}; jobs in the queue: {shown or 'none'}")


def run_pending(queue: Queue) -> list[Job]:
    """Run the jobs that are due, one after the other, and return those that finished.

    Each command runs as a child of this process, as a worker would run it: same environment, directory, output, timeout
    and end of all its processes. This process changes its working directory for a moment at each start. Jobs that
    become due meanwhile (dependents, retries without a delay) run too. Delayed jobs, retries that wait for their
    backoff, and paused queues are left alone.

    Examples
    --------
    >>> with temporary_queue() as queue:
    ...     _ = queue.set("backoff_max", 0)
    ...     job = queue.enqueue("exit 3", max_retries=2)
    ...     [(str(each.state), each.attempts, each.exit_code) for each in run_pending(queue)]
    [('dead', 2, 3)]
    """
    return _run_due(queue, inline=False)


def _run_due(queue: Queue, *, inline: bool) -> list[Job]:
    """Run the jobs that are due; ``inline``: functions in this process."""
    from queuectl_nb.engine import notifier
    from queuectl_nb.engine.local_executor import LocalExecutor
    from queuectl_nb.store.boot_time import read_boot_time
    from queuectl_nb.store.claims import Claims

    store, spool_dir = queue.store, queue.store.db.spool
    claims = Claims(store.db, WORKER_NAME, os.uname().nodename)
    files = store.spool.worker_files(WORKER_NAME)
    executor = LocalExecutor(store.spool, files, None, db=store.path, environ=os.environ, owns_children=False)
    ran: dict[str, None] = {}
    ended: list[EndedAttempt] = []
    spooled: frozenset[str] = frozenset()
    while True:
        settings = queue.settings
        result = claims.settle_and_claim(
            ended=ended,
            limit=1,
            settings=settings,
            now=time.time(),
            rand=random.random(),
            boottime=read_boot_time(),
        )
        for attempt in ended:
            store.spool.remove(attempt.lease.token, keep=spooled)
            notifier.notify_finished(notifier.waiter_dir(spool_dir))
        if not result.leases:
            break
        ran[result.leases[0].job_id] = None
        attempt, spooled = _run_attempt(store, executor, result.leases[0], settings, inline=inline)
        ended = [attempt]
    executor.close()
    return [job for job in (queue.job(job_id) for job_id in ran) if job.record.is_finished]


def _run_attempt(
    store: Store, executor: LocalExecutor, lease: Lease, settings: Settings, *, inline: bool
) -> tuple[EndedAttempt, frozenset[str]]:
    """Run one attempt; return the result, and the streams to keep in the spool."""
    from queuectl_nb.engine.collect import add_reply, capture_ending, read_reply
    from queuectl_nb.engine.executor import CannotStart
    from queuectl_nb.engine.python.request import with_call
    from queuectl_nb.model.attempt import Ending
    from queuectl_nb.model.outcome import NotStarted, Raised
    from queuectl_nb.store.claims import EndedAttempt

    calls_here = inline and lease.kind == Kind.FUNCTION
    try:
        lease = with_call(store.db, lease)
        outcome, ending, paths = (_call if calls_here else _run)(executor, lease, settings)
    except CannotStart as error:
        return EndedAttempt(lease, NotStarted(str(error), error.final), Ending(time.time())), frozenset()
    artifacts = executor.artifacts.take(lease.token, 0.0, settings.artifact_limit)
    ending, spooled = capture_ending(executor.spool, lease.token, paths, settings, ending._replace(artifacts=artifacts))
    if lease.call is not None:
        outcome, ending, _ = add_reply(read_reply(executor.spool, lease, executor.files.name), outcome, ending)
    if calls_here and isinstance(outcome, Raised):
        outcome = dataclasses.replace(outcome, retry_after=0.0)
    return EndedAttempt(lease, outcome, ending), spooled


def _run(executor: LocalExecutor, lease: Lease, settings: Settings) -> tuple[Outcome, Ending, Mapping[str, str]]:
    """Run an attempt until none of its processes is left; return outcome, ending and the paths of its output."""
    from queuectl_nb.engine.executor import NoResources
    from queuectl_nb.engine.run_monitor import RunMonitor
    from queuectl_nb.model.attempt import Ending
    from queuectl_nb.model.errors import BadEnvironment
    from queuectl_nb.model.outcome import Returned

    try:
        with contextlib.chdir("."):  # back to here afterwards
            run = executor.start(lease, settings, lambda: True)
    except NoResources as error:
        raise BadEnvironment(str(error)) from error
    run.move_to_own_files()
    monitor = RunMonitor(run)
    try:
        while not monitor.step(settings, settings.kill_grace):
            time.sleep(POLL_INTERVAL_S)
    except BaseException:  # Ctrl+C: leave no process
        monitor.end(Returned(), 0.0)
        while not monitor.step(settings, 0.0):
            time.sleep(POLL_INTERVAL_S)
        raise
    return monitor.outcome, Ending(time.time(), run.started_at, run.pid, usage=run.usage), run.paths


def _call(executor: LocalExecutor, lease: Lease, settings: Settings) -> tuple[Outcome, Ending, Mapping[str, str]]:
    """Make the calls of an attempt in this process; return outcome and ending."""
    from queuectl_nb.child import function
    from queuectl_nb.child.reply import Reply
    from queuectl_nb.model.attempt import Ending
    from queuectl_nb.model.outcome import exited
    from queuectl_nb.store.blobs import blob_dir

    started_at = time.time()
    executor.artifacts.prepare()
    reply = Reply(executor.files.reply, blob_dir(executor.spool.folder))
    variables = executor.attempt_variables(lease, settings.max_retries)
    with mock.patch.dict(os.environ, {os.fsdecode(name): os.fsdecode(value) for name, value in variables.items()}):
        code = function.run(lease.call or {}, reply)
        reply.flush()
    return exited(code), Ending(time.time(), started_at, os.getpid()), {}
