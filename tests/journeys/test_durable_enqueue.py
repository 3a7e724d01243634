"""An acknowledged enqueue survives SIGKILL; an unacknowledged one is complete or absent."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from queuectl_nb.client import Queue
from tests.journeys.terminals import CONSOLE, environment

if TYPE_CHECKING:
    from pathlib import Path

LOOP = """
import sys
from queuectl_nb import Queue
queue = Queue(sys.argv[1])
for number in range(10_000):
    command = "echo " + "x" * 3000
    rows = [{"id": f"{sys.argv[2]}.{number}.{part}", "command": command, "tags": ["a", "b"]} for part in range(3)]
    queue.enqueue_many(rows)
    print(f"{sys.argv[2]}.{number}", flush=True)
"""


def test_killed_processes_lose_no_acknowledged_batch(queue_path: Path) -> None:
    """Processes that enqueue batches of three are killed: all batches are complete, none acknowledged is lost."""
    rng = random.Random(5)
    acknowledged: list[str] = []
    for round_ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(queue_path), f"r{round_}"],
            env=environment(queue_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        acknowledged.append(process.stdout.readline().strip())
        killer = threading.Timer(rng.uniform(0, 0.15), process.kill)
        killer.start()
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        process.wait(60)
        killer.join()
    queue = Queue(queue_path)
    ids = {job_id for (job_id,) in queue.store.db.connection().execute("SELECT id FROM jobs")}
    batches = {job_id.rpartition(".")[0] for job_id in ids}
    assert len(acknowledged) > 12
    assert set(acknowledged) <= batches
    assert ids == {f"{batch}.{part}" for batch in batches for part in range(3)}
    assert queue.store.db.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert sum(queue.store.reader.counts().values()) == len(ids)


def test_killed_console_leaves_a_complete_job_or_none(queue_path: Path) -> None:
    """``queuectl enqueue`` is killed at random: acknowledged jobs exist, and existing jobs are complete."""
    rng = random.Random(6)
    acknowledged: set[str] = set()
    for number in range(25):
        process = subprocess.Popen(
            [*CONSOLE, "enqueue", "--id", f"k{number}", "--command", f"echo {number}", "--tag", "t"],
            env=environment(queue_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        killer = threading.Timer(rng.uniform(0.02, 0.3), process.kill)
        killer.start()
        out, _ = process.communicate(timeout=30)
        killer.cancel()
        if out.startswith("Job enqueued"):
            acknowledged.add(f"k{number}")
    queue = Queue(queue_path)
    rows = queue.store.db.connection().execute("SELECT id, command, tags, state, ready FROM jobs").fetchall()
    assert acknowledged <= {row[0] for row in rows}
    assert all(row == (row[0], f"echo {row[0][1:]}", '["t"]', "pending", 1) for row in rows)
