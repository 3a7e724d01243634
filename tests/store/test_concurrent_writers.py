"""Concurrent writers: no "locked" error, no long wait, no lost write (a short run)."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness

WRITERS = 16

WRITER = """
from pathlib import Path
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.attempt import Ending
from queuectl_nb.store.claims import Claims, EndedAttempt
from queuectl_nb.store.insert import insert_jobs
from queuectl_nb.store.store import Store
path, me, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
store = Store(path)
claims, settings = Claims(store.db, me, "here"), store.settings.read()
store.db.connection()
# go
longest, writes, done = 0.0, 0, 0
end = time.monotonic() + seconds
ended = []
while time.monotonic() < end:
    began = time.monotonic()
    if writes % 2:
        turn = claims.settle_and_claim(ended=ended, limit=1, settings=settings, now=time.time(), rand=0)
        done += len(ended)
        ended = [EndedAttempt(lease, Exited(0), Ending(time.time())) for lease in turn.leases]
    else:
        insert_jobs(store.db, [JobSpec("true")], cwd="/", recorded_env={}, now=time.time())
    longest = max(longest, time.monotonic() - began)
    writes += 1
claims.settle_and_claim(released=[each.lease for each in ended], settings=settings, now=time.time(), rand=0)
print(longest, writes, done)
"""


class SchedulingDelay:
    """Measure how long a thread that wakes every 10 ms waits for a core (machine load)."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        began = time.monotonic()
        while not self._over.wait(0.01):
            now = time.monotonic()
            self.seconds += max(0.0, now - began - 0.01)
            began = now

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.soak)])
def test_writers_in_a_tight_loop_never_wait_long(
    harness: StoreHarness, processes: Any, record_property: Any, seconds: int
) -> None:
    """Sixteen processes write in a loop: none gets "locked" or waits a second, and every write is there."""
    for number in range(WRITERS):
        processes.add(WRITER, harness.store.path, f"writer-{number}", seconds)
    with SchedulingDelay() as delay:
        found = [line.split() for line in processes.start_all()]
    longest = max(float(line[0]) for line in found)
    writes, done = sum(int(line[1]) for line in found), sum(int(line[2]) for line in found)
    record_property("longest_wait_s", longest)
    record_property("writes_per_s", writes / seconds)
    assert longest - delay.seconds < 1
    counts = harness.store.reader.counts()
    assert counts[State.COMPLETED] == done > 0
    assert counts[State.PROCESSING] == 0
    assert sum(counts.values()) >= done
    assert harness.query("SELECT count(*) - count(DISTINCT job) FROM attempts") == [(0,)]
