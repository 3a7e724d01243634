"""Processes that enqueue while :mod:`tests.journeys.chaos` runs: forking, daemonising, interrupted.

Usage: ``python chaos_enqueuer.py MODE DB PREFIX``. The id of each acknowledged job is appended to the file
``acknowledged`` beside the queue. What a process prints ends when all processes that it has forked have ended.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb import Queue
from tests.journeys.chaos_functions import work

if TYPE_CHECKING:
    from collections.abc import Callable

JOBS = 5
"""Jobs that each process enqueues."""


def job_command(number: str, kind: str = "plain", seconds: float = 0) -> str:
    """Return the command of a job: ``job.sh`` beside the queue that runs it, which may be a copy."""
    return f'sh "${{QUEUECTL_DB%/*}}/job.sh" {number} {kind} {seconds}'


def enqueue(queue: Queue, job_id: str) -> None:
    """Enqueue a command, or a function, and record that this was acknowledged."""
    if job_id[-1] in "13579":
        queue.task(work, id=job_id, tags=["plain"]).submit(job_id, "plain", 0, job_id.encode() * 10_000, 0)
    else:
        queue.enqueue(job_command(job_id), id=job_id)
    handle = os.open(queue.path.parent / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, f"{job_id}\n".encode())
    os.close(handle)


def enqueue_some(queue: Queue, prefix: str) -> None:
    """Enqueue :data:`JOBS` jobs."""
    for number in range(JOBS):
        enqueue(queue, f"{prefix}-{number}")


def multiprocess(queue: Queue, prefix: str, method: str, *, parent_first: bool) -> None:
    """Enqueue in children of :mod:`multiprocessing` and in their parent."""
    enqueue(queue, f"{prefix}-first")
    context: Any = multiprocessing.get_context(method)
    children = [context.Process(target=enqueue_some, args=(queue, f"{prefix}-{number}")) for number in range(2)]
    for child in children:
        child.start()
    enqueue_some(queue, f"{prefix}-parent")
    if parent_first and method == "fork":
        os._exit(0)
    for child in children:
        child.join()
    enqueue(queue, f"{prefix}-last")


def daemonize(queue: Queue, prefix: str, *, parent_first: bool) -> None:
    """Enqueue, fork, and enqueue in the child, which has a session of its own; one of both ends first."""
    enqueue(queue, f"{prefix}-first")
    parent = os.getpid()
    child = os.fork()
    if not child:
        os.setsid()
        enqueue(queue, f"{prefix}-child")
        while parent_first and os.getppid() == parent:
            os.sched_yield()
        enqueue_some(queue, f"{prefix}-daemon")
        return
    if not parent_first:
        os.waitpid(child, 0)
    enqueue_some(queue, f"{prefix}-parent")


def interrupted(queue: Queue, prefix: str) -> None:
    """Enqueue until standard input says ``stop``, whatever interrupts that; then idle until it is closed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    os.set_blocking(0, False)
    number = 0
    while True:
        try:
            if not number:
                print("ready", flush=True)
            while True:
                number += 1
                enqueue(queue, f"{prefix}-{number}")
                queue.store.reader.counts()
                try:
                    if os.read(0, 1):
                        break
                except BlockingIOError:
                    continue
            break
        except KeyboardInterrupt:
            continue
    os.set_blocking(0, True)
    print("idle", flush=True)
    os.read(0, 100)
    os.read(0, 1)


def states(queue: Queue) -> None:
    """Print the state of each job, as a process sees it that has just opened the queue."""
    with queue.store.db.read() as connection:
        print(json.dumps(dict(connection.execute("SELECT id, state FROM jobs").fetchall())))


MODES: dict[str, Callable[[Queue, str], None]] = {
    "fork": lambda queue, prefix: multiprocess(queue, prefix, "fork", parent_first=False),
    "fork, parent first": lambda queue, prefix: multiprocess(queue, prefix, "fork", parent_first=True),
    "forkserver": lambda queue, prefix: multiprocess(queue, prefix, "forkserver", parent_first=False),
    "spawn": lambda queue, prefix: multiprocess(queue, prefix, "spawn", parent_first=False),
    "daemon": lambda queue, prefix: daemonize(queue, prefix, parent_first=False),
    "daemon, parent first": lambda queue, prefix: daemonize(queue, prefix, parent_first=True),
    "interrupted": interrupted,
    "states": lambda queue, _: states(queue),
}

if __name__ == "__main__":
    MODES[sys.argv[1]](Queue(Path(sys.argv[2])), sys.argv[3] if len(sys.argv) > 3 else "")
