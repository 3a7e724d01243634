"""The growth of a queue is estimated from a sample of the attempts of the last day."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.store import maintenance
from queuectl_nb.store.maintenance import DAY, ROW_BYTES, Growth, read_growth

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store
    from tests.store.conftest import StoreHarness

MIB = 1024 * 1024
NOW = 1_800_000_000.0
HOUR = 3600.0


def _add(store: Store, count: int, began: float, every: float, size: int = 0) -> None:
    """Insert jobs with an attempt each, of which the first ended at ``began``."""
    with store.db.write() as connection:
        (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()
        rows = [{"seq": last + number, "at": began + every * (number - 1)} for number in range(1, count + 1)]
        connection.executemany(
            "INSERT INTO jobs (seq, id, command, state, cwd, run_at, created_at, updated_at, rev, starts)"
            " VALUES (:seq, 'job-' || :seq, 'true', 'completed', '/', :at, :at, :at, 1, 1)",
            rows,
        )
        connection.executemany(
            "INSERT INTO attempts (job, number, token, worker, host, due_at, undo, started_at, finished_at, outcome,"
            " stdout_size) VALUES (:seq, 1, :seq, 'worker-1', 'here', :at, 0, :at, :at, 'succeeded', :size)",
            [row | {"size": size} for row in rows],
        )


def _read(store: Store) -> Growth:
    return read_growth(store.db, store.settings.read(), NOW)


def test_no_recent_attempt(harness: StoreHarness) -> None:
    """Nothing grows if no attempt ended in the last day."""
    assert _read(harness.store) == (0, math.inf)
    _add(harness.store, 10, NOW - 2 * DAY, 1.0)
    assert _read(harness.store) == (0, math.inf)


@pytest.mark.parametrize(
    ("size", "kept"), [(0, 0), (1000, 1000), (MIB, MIB), (10 * MIB, 11 * MIB), (4096 * MIB, 1025 * MIB)]
)
def test_what_attempts_keep(harness: StoreHarness, size: int, kept: int) -> None:
    """Their rows and their output: in the database, and of long streams in the spool, within its limit."""
    _add(harness.store, 2000, NOW - 10 * HOUR, 10 * HOUR / 2000, size)
    assert _read(harness.store).bytes_per_s == pytest.approx(2000 * (ROW_BYTES + kept) / (10 * HOUR), rel=0.01)


def test_a_burst_is_not_a_trend(harness: StoreHarness) -> None:
    """The rate of a queue that is minutes old is that of an hour."""
    _add(harness.store, 60, NOW - 60, 1.0, 1000)
    assert _read(harness.store).bytes_per_s == pytest.approx(60 * (ROW_BYTES + 1000) / HOUR)


def test_only_the_last_day_counts(harness: StoreHarness) -> None:
    """Earlier attempts do not, even if a long one of them ended late; deleted ones do not, either."""
    store = harness.store
    _add(store, 1000, NOW - 30 * DAY, 60.0, MIB)
    _add(store, 1000, NOW - 10 * HOUR, 36.0)
    with store.db.write() as connection:
        connection.execute("UPDATE attempts SET finished_at = ?, stdout_size = 0 WHERE job = 1", (NOW - 20 * HOUR,))
    assert _read(store).bytes_per_s == pytest.approx(1001 * ROW_BYTES / (20 * HOUR), rel=0.03)
    with store.db.write() as connection:
        connection.execute("DELETE FROM jobs WHERE seq > 1000 AND seq % 2 = 0")
    assert _read(store).bytes_per_s == pytest.approx(500 * ROW_BYTES / (20 * HOUR), rel=0.15)


def test_when_the_disk_is_full(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free disk space and free pages are used up at this rate, unless ``retention`` ends the growth before that."""
    store = harness.store
    monkeypatch.setattr(maintenance, "free_disk_space", lambda _db: 100_000_000)
    _add(store, 3000, NOW - 10 * HOUR, 12.0, 10_000)
    per_s = 3000 * (ROW_BYTES + 10_000) / (10 * HOUR)
    full_in_s = 100_000_000 / per_s
    assert _read(store).full_in_s == pytest.approx(full_in_s, rel=0.01)
    for retention_s, expected in ((11 * HOUR, math.inf), (11 * HOUR + full_in_s, full_in_s)):
        store.settings.set("retention", retention_s / DAY)
        assert _read(store).full_in_s == pytest.approx(expected, rel=0.01)
