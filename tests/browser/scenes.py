"""Queues worth a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.state import State
from tests.engine.bench import until

if TYPE_CHECKING:
    from tests.engine.bench import Bench

TRAIN = (
    "for i in 1 2 3; do printf '\\033[1mepoch %s\\033[0m  loss \\033[32m0.%s\\033[0m\\n' $i $((90 - i * 17)); done;"
    " echo 'warning: 3 samples skipped' >&2; sleep 120"
)


def busy_queue(bench: Bench) -> None:
    """Fill a queue with jobs in every state, two of them running, and wait until all are where they belong."""
    queue = bench.queue
    queue.set("backoff_base", "900")
    for seed in range(8):
        bench.add(f"python evaluate.py --seed {seed} || true", id=f"evaluate-s{seed}", tags=["sweep"])
    bench.add("echo 'KeyError: month' >&2; exit 1", id="report-2026-10", max_retries=1)
    bench.add("exit 3", id="upload", max_retries=4)
    bench.start(3)
    until(lambda: queue.counts()[State.DEAD] and queue.counts()[State.FAILED] and queue.counts()[State.COMPLETED] == 8)
    bench.add(TRAIN, id="train-lr0.1", queue="gpu", timeout=3600, cwd="/tmp")
    bench.add("sleep 120", id="convert-video", queue="media", timeout=3600)
    until(lambda: queue.counts()[State.PROCESSING] == 2)
    bench.add("python publish.py", id="publish", after=["train-lr0.1"])
    bench.add("python train.py --lr 0.01", id="train-lr0.01", queue="gpu", delay=600)
    bench.add("python train.py --lr 1", id="train-lr1", queue="gpu", delay=600)
    queue.cancel("train-lr1")
