"""Helpers for testing code that uses a queue: no worker processes, no shared files.

>>> from queuectl_nb.testing import assert_enqueued, run_pending, temporary_queue
>>> with temporary_queue() as queue:
...     _ = queue.enqueue("echo hello", id="greeting", priority=5)
...     job = assert_enqueued(queue, command="echo hello", priority=5)
...     [finished] = run_pending(queue)
...     print(finished.id, finished.state, finished.log().strip())
greeting completed hello

With pytest the fixture ``queuectl_queue`` gives each test a temporary queue.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb.client import Job, Queue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.claims import EndedAttempt
    from queuectl_nb.store.store import Store

__all__ = ["assert_enqueued", "run_pending", "temporary_queue"]

WORKER_NAME = "testing"


@contextmanager
def temporary_queue() -> Iterator[Queue]:
    """Give an empty queue in a temporary directory; it is deleted at the end of the block.

    Examples
    --------
    >>> with temporary_queue() as queue:
    ...     print(queue.enqueue("true").state)
    pending
    """
    with tempfile.TemporaryDirectory(prefix="queuectl-") as folder:
        path = Path(folder, "queue.db")
        path.touch(0o600)
        path.write_bytes(_empty_queue())
        queue = Queue(path)
        try:
            yield queue
        finally:
            queue.close()


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
    from queuectl_nb.store.reader import Filter

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
    msg = f"no job with {expected}; jobs in the queue: {shown or 'none'}"
    raise AssertionError(msg)


def run_pending(queue: Queue) -> list[Job]:
    """Run the jobs that are due, one after the other, and return those that finished.

    Each command runs as a child of this process, as a worker would run it: same environment, directory, output and
    timeout. Jobs that become due meanwhile (dependents, retries without a delay) run too. Delayed jobs, retries that
    wait for their backoff, and paused queues are left alone.

    Examples
    --------
    >>> with temporary_queue() as queue:
    ...     _ = queue.set("backoff_max", 0)
    ...     job = queue.enqueue("exit 3", max_retries=2)
    ...     [(str(each.state), each.attempts, each.exit_code) for each in run_pending(queue)]
    [('dead', 2, 3)]
    """
    from queuectl_nb.store.boot_time import read_boot_time
    from queuectl_nb.store.claims import Claims

    store = queue.store
    claims = Claims(store.db, WORKER_NAME, os.uname().nodename)
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
            rand=random.random(),  # noqa: S311 - jitter
            boottime=read_boot_time(),
        )
        for attempt in ended:
            store.spool.remove(attempt.lease.token, keep=spooled)
        if not result.leases:
            break
        ran[result.leases[0].job_id] = None
        attempt, spooled = _run(store, result.leases[0], settings)
        ended = [attempt]
    return [job for job in (queue.job(job_id) for job_id in ran) if job.record.is_finished]


def _run(store: Store, lease: Lease, settings: Settings) -> tuple[EndedAttempt, frozenset[str]]:
    """Run one attempt and kill its process group; return the result, and the streams to keep in the spool."""
    from queuectl_nb.engine.collect import capture_ending
    from queuectl_nb.model.attempt import Ending
    from queuectl_nb.model.outcome import NotStarted, Signalled, TimedOut, exited
    from queuectl_nb.store.claims import EndedAttempt
    from queuectl_nb.store.spool import STREAMS

    paths = {stream: f"{store.spool.folder}/{lease.token}.{stream}" for stream in STREAMS}
    started_at = time.time()
    outcome: Outcome
    with ExitStack() as stack:
        out, err = (stack.enter_context(open(path, "xb")) for path in paths.values())
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", lease.command],
                cwd=lease.cwd,
                env=_environment(store, lease, settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            return EndedAttempt(lease, NotStarted(str(error)), Ending(time.time())), frozenset()
        limit = settings.timeout_for(lease.timeout)
        try:
            code = process.wait(limit)
            outcome = exited(code) if code >= 0 else Signalled(-code)
        except subprocess.TimeoutExpired:
            outcome = TimedOut(limit or 0)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    ending, spooled = capture_ending(
        store.spool,
        lease.token,
        paths,
        limit=settings.output_limit,
        finished_at=time.time(),
        started_at=started_at,
        pid=process.pid,
    )
    return EndedAttempt(lease, outcome, ending), spooled


def _environment(store: Store, lease: Lease, settings: Settings) -> Mapping[str, str]:
    return {
        "PYTHONUNBUFFERED": "1",
        **os.environ,
        **lease.recorded_env,
        **lease.env,
        "QUEUECTL_DB": str(store.path),
        "QUEUECTL_JOB_ID": lease.job_id,
        "QUEUECTL_ATTEMPT": str(lease.number),
        "QUEUECTL_ATTEMPT_TOKEN": lease.token,
        "QUEUECTL_MAX_RETRIES": str(lease.max_retries or settings.max_retries),
        "QUEUECTL_RESULT": f"{store.spool.folder}/{lease.token}.result",
    }
