"""Metrics of attempts: read from the files of jobs, kept with the attempt, and shown while it runs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.outcome import Exited
from queuectl_nb.store.metrics import (
    BLOCK_BYTES,
    LIVE_BYTES,
    LIVE_POINTS,
    MAX_READ_BYTES,
    LiveMetrics,
    attempt_metrics,
    latest_points,
    live_size,
    live_values,
    read_metrics,
)

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.model.attempt import Lease
    from tests.store.conftest import StoreHarness


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file of metrics."""
    return tmp_path / "token.metrics"


def write(path: Path, *lines: object, written_at: float = 1000.0) -> None:
    """Append lines of JSON."""
    with path.open("a") as file:
        file.writelines(f"{json.dumps(each)}\n" for each in lines)
    os.utime(path, (written_at, written_at))


def report(harness: StoreHarness, lease: Lease, *lines: object) -> None:
    """Append lines to the file of a running attempt."""
    write(harness.store.db.output_dir / f"{lease.token}.metrics", *lines, written_at=harness.now)


def end(harness: StoreHarness, lease: Lease, *lines: object, **facts: Any) -> None:
    """End an attempt that has reported these lines."""
    report(harness, lease, *lines)
    path = harness.store.db.output_dir / f"{lease.token}.metrics"
    harness.settle(lease, metrics=read_metrics(str(path), harness.now), **facts)
    path.unlink()


# ---------------------------------------------------------------------- files


def test_a_whole_file(path: Path) -> None:
    """The last value of each name, the progress and all points are read; the last line may lack its newline."""
    write(path, {"loss": 2, "progress": 0.5}, {"loss": 1})
    path.write_text(path.read_text() + '{"loss": 0.5}')
    found = read_metrics(str(path), None)
    assert found is not None
    assert (found.progress, found.last, found.invalid, found.complete) == (0.5, '{"loss": 0.5}', 0, True)


def test_no_file(path: Path) -> None:
    """Without a file, and with anything else in its place, nothing was reported."""
    assert read_metrics(str(path), None) is None
    path.symlink_to("/proc/self/stat")
    assert read_metrics(str(path), None) is None
    path.unlink()
    path.mkdir()
    assert read_metrics(str(path), None) is None
    path.rmdir()
    path.touch()
    assert read_metrics(str(path), None) is None


def test_times_of_lines(path: Path) -> None:
    """Lines are dated as if the file had grown evenly from the start of the attempt to the last write."""
    for started_at, expected in [(900.0, [925, 950, 975, 1000]), (None, [1000] * 4), (2000.0, [1000] * 4)]:
        live = LiveMetrics(path.parent, "token", started_at)
        path.unlink(missing_ok=True)
        write(path, *[{"a": 1}] * 4)
        assert list(live.read().series["a"].times) == expected


def test_times_of_a_large_file(path: Path) -> None:
    """A file of several blocks is dated over all of them."""
    lines = 3 * BLOCK_BYTES // len('{"a": 1}\n')
    path.write_bytes(b'{"a": 1}\n' * lines)
    os.utime(path, (1000, 1000))
    times = LiveMetrics(path.parent, "token", 900.0, 10**6)
    assert path.stat().st_size > LIVE_BYTES
    points = times.read().series["a"]
    assert points.times[0] == pytest.approx(900, abs=1)
    assert points.last.time == pytest.approx(1000, abs=1)
    assert list(points.times) == sorted(points.times)


@pytest.mark.parametrize("size", [MAX_READ_BYTES, MAX_READ_BYTES + 1])
def test_a_sample_of_a_very_large_file(path: Path, size: int) -> None:
    """Of a file over the limit, blocks spread evenly over it are read, its beginning and end among them."""
    with path.open("wb") as file:
        file.write(b'{"first": 1}\n')
        file.truncate(size - 12)
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"last": 2}')
    found = read_metrics(str(path), None)
    assert found is not None
    assert found.complete == (size == MAX_READ_BYTES)
    assert json.loads(found.last or "") == {"first": 1, "last": 2}


def test_the_blocks_of_a_sample(path: Path) -> None:
    """No part of a large file is left out: the blocks read have equal distances."""
    with path.open("wb") as file:
        for number in range(0, 64 * BLOCK_BYTES, 1024):
            file.write(f'{{"n": {number // BLOCK_BYTES}}}'.encode().ljust(1023) + b"\n")
    values = list(LiveMetrics(path.parent, "token", None, 10**6).read().series["n"].values)
    assert (values[0], values[-1]) == (0, 63)
    assert len(set(values)) == LIVE_BYTES // BLOCK_BYTES


# ---------------------------------------------------------------------- running attempts


def test_lines_are_read_once(path: Path) -> None:
    """Each read adds what was appended, dated since the read before, and a partial line once it is complete."""
    live = LiveMetrics(path.parent, "token", 900.0)
    assert not live.read().series
    write(path, {"a": 1})
    assert live.read().last_values == {"a": 1}
    assert live.read() is live.parser
    with path.open("a") as file:
        file.write('{"a": 2}\n{"a"')
    os.utime(path, (1100, 1100))
    assert live.read().last_values == {"a": 2}
    assert live.parser.series["a"].last.time == 1100
    with path.open("a") as file:
        file.write(": 3}\n")
    assert live.read().last_values == {"a": 3}
    assert (list(live.parser.series["a"].values), live.parser.invalid) == ([1, 2, 3], 0)
    write(path, *({"a": n} for n in range(LIVE_POINTS)))
    for each in (live, LiveMetrics(path.parent, "token", 900.0)):
        assert LIVE_POINTS / 3 < len(each.read().series["a"]) <= LIVE_POINTS


def test_a_file_that_was_replaced(path: Path) -> None:
    """A file that has become shorter is read from its start; without a file the last state is shown."""
    live = LiveMetrics(path.parent, "token", None)
    write(path, {"a": 1}, {"a": 2})
    live.read()
    path.write_text("")
    write(path, {"b": 3})
    assert live.read().last_values == {"b": 3}
    path.unlink()
    assert live.read().last_values == {"b": 3}


def test_much_at_once(path: Path) -> None:
    """Of a large amount that was appended, the end is read, from a whole line on."""
    live = LiveMetrics(path.parent, "token", None)
    write(path, {"a": 1})
    live.read()
    write(path, *({"a": n} for n in range(LIVE_BYTES // 8)))
    parser = live.read()
    assert (parser.last_values, parser.invalid) == ({"a": LIVE_BYTES // 8 - 1}, 0)
    write(path, {"a": -1})
    assert live.read().last_values == {"a": -1}


def test_values_of_running_jobs(harness: StoreHarness) -> None:
    """A running job has what it has reported so far, wherever jobs are read; others have not."""
    harness.add("quiet", "loud", "half", "other")
    for name in ("quiet", "loud", "half", "other"):
        lease = harness.claim_job(name)
        before = live_size(harness.store.db)
        if name != "quiet":
            report(harness, lease, {"progress": 0.5} if name == "half" else {"loss": 1})
            assert live_size(harness.store.db) > before
    loud = (None, {"loss": 1})
    assert live_values(harness.store.db) == {"loud": loud, "half": (0.5, {}), "other": loud}
    assert live_values(harness.store.db, {"loud", "quiet"}) == {"loud": loud}
    found = [harness.store.jobs.get(name) for name in ("quiet", "loud", "half")]
    assert [(job.progress, job.metrics) for job in found] == [(None, None), (None, {"loss": 1}), (0.5, None)]


# ---------------------------------------------------------------------- all attempts


def test_attempts_with_metrics(harness: StoreHarness) -> None:
    """The points of all attempts are found, those of running ones in their files, and deleted with their jobs."""
    harness.add("a", "b", "c", "quiet", max_retries=2)
    end(harness, harness.claim_job("a"), {"x": 1}, {"x": 2}, outcome=Exited(1))
    end(harness, harness.claim_job("b"), "no object", {"y": 3}, outcome=Exited(0))
    harness.now += 100
    again = harness.claim_job("a")
    silent, quiet = harness.claim(2)
    assert list(attempt_metrics(harness.store.db, ["c"])) == []
    report(harness, again, {"x": 4}, "no object")
    report(harness, silent, "no object")
    found = list(attempt_metrics(harness.store.db))
    assert [(each.job_id, each.number, each.invalid, each.complete) for each in found] == [
        *[("a", 1, 0, True), ("a", 2, 1, True), ("b", 1, 1, True), ("c", 1, 1, True)]
    ]
    values = [{name: list(points[2]) for name, points in each.series.items()} for each in found]
    assert values == [{"x": [1, 2]}, {"x": [4]}, {"y": [3]}, {}]
    assert [each.job_id for each in attempt_metrics(harness.store.db, ["b", "quiet"])] == ["b"]
    for lease in (again, silent, quiet):
        harness.settle(lease)
    assert [(each.job_id, each.number) for each in attempt_metrics(harness.store.db)] == [("a", 1), ("b", 1)]


def test_latest_points(harness: StoreHarness) -> None:
    """Only the latest attempt counts: its stored points, or none while it runs."""
    harness.add("a", max_retries=3)
    assert latest_points(harness.store.db, "a") is None
    assert latest_points(harness.store.db, "nobody") is None
    end(harness, first := harness.claim_job("a"), {"x": 1}, outcome=Exited(1))
    found = latest_points(harness.store.db, "a")
    assert found is not None
    assert (found.token, found.started_at) == (first.token, harness.now)
    assert {name: list(points[2]) for name, points in (found.stored or {}).items()} == {"x": [1]}
    harness.now += 100
    second = harness.claim_job("a")
    assert latest_points(harness.store.db, "a") == (second.token, harness.now, None)
    harness.settle(second)
    assert latest_points(harness.store.db, "a") is None
