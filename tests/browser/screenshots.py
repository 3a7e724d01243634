"""Queues for the screenshots of the documentation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from queuectl_nb.model.state import State
from tests.engine.harness import until

if TYPE_CHECKING:
    from queuectl_nb.client import Queue
    from tests.engine.harness import WorkerHarness

TRAIN = (
    "for i in 1 2 3; do printf '\\033[1mepoch %s\\033[0m  loss \\033[32m0.%s\\033[0m\\n' $i $((90 - i * 17)); done;"
    " echo 'warning: 3 samples skipped' >&2; sleep 120"
)


FINISHED = """
    UPDATE jobs SET state = 'completed', ready = 0, attempts = 1, starts = 1, worker = 'worker-' || (1 + seq % 3),
        exit_code = 0, rev = 0, run_at = created_at, started_at = :now - 3 - abs((seq * 7919) % 150),
        finished_at = :now - abs((seq * 7919) % 150), updated_at = :now - abs((seq * 7919) % 150)
    WHERE id LIKE 'tune-%'
"""
THEIR_ATTEMPTS = """
    INSERT INTO attempts
        (job, number, token, worker, host, pid, due_at, undo, started_at, finished_at, outcome, exit_code)
    SELECT seq, 1, printf('%032x', seq), worker, 'here', 1, created_at, 0, started_at, finished_at,
        CASE WHEN seq % 7 = 3 THEN 'failed' ELSE 'succeeded' END, seq % 7 = 3 FROM jobs WHERE id LIKE 'tune-%'
"""


def history(queue: Queue) -> None:
    """Give a queue the history of some busy minutes."""
    trials = [{"command": f"python tune.py --trial {n}", "id": f"tune-{n:03}"} for n in range(190)]
    queue.enqueue_many(trials, delay=3600)  # not due: a worker that is free must not take one before its end is written
    with queue.store.db.write() as connection:
        connection.execute(FINISHED, {"now": time.time()})
        connection.execute(THEIR_ATTEMPTS)


def busy_queue(harness: WorkerHarness) -> None:
    """Fill a queue with jobs in every state, two of them running, and wait until all have their state."""
    queue = harness.queue
    queue.set("backoff_base", "900")
    for seed in range(8):
        harness.add(f"python evaluate.py --seed {seed} || true", id=f"evaluate-s{seed}", tags=["sweep"])
    harness.add("echo 'KeyError: month' >&2; exit 1", id="report-2026-10", max_retries=1)
    harness.add("exit 3", id="upload", max_retries=4)
    harness.start(3)
    until(
        lambda: (
            queue.store.reader.counts()[State.DEAD]
            and queue.store.reader.counts()[State.FAILED]
            and queue.store.reader.counts()[State.COMPLETED] == 8
        )
    )
    harness.add(TRAIN, id="train-lr0.1", queue="gpu", timeout=3600, cwd="/tmp")
    harness.add("sleep 120", id="convert-video", queue="media", timeout=3600)
    until(lambda: queue.store.reader.counts()[State.PROCESSING] == 2)
    harness.add("python publish.py", id="publish", after=["train-lr0.1"])
    harness.add("python train.py --lr 0.01", id="train-lr0.01", queue="gpu", delay=600)
    harness.add("python train.py --lr 1", id="train-lr1", queue="gpu", delay=600)
    queue.cancel("train-lr1")
