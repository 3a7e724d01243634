"""Statistics, compared with numbers calculated by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model.attempt import Usage
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.outcome import Exited, Lost, Returned, TimedOut
from queuectl_nb.model.state import State
from queuectl_nb.store.stats import largest_groups, percentile, stats, total_stats

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


def _known_day(harness: StoreHarness) -> float:
    """Create a day whose numbers are known; return its start.

    job   tags  attempts: due, started, finished (seconds from the beginning), outcome
    a     x     (0, 0, 4) failed   (6, 7, 10) succeeded
    b     x, y  (0, 1, 11) succeeded
    c           (0, 2, 3) returned  (3, 5, 60) timed out, then dead
    d           (0, 20, 30) lost, waits for its retry
    e           running since 100
    """
    start = float(harness.now)
    usage = {"usage": Usage(1.0, 0.5, 1000)}

    def run(job_id: str, begin: float, end: float, outcome: Any, **facts: Any) -> None:
        harness.now = start + begin
        lease = harness.claim_job(job_id)
        harness.now = start + end
        harness.settle(lease, outcome, started_at=start + begin, **facts)

    harness.add("a", tags=["x"], queue="q")
    run("a", 0, 4, Exited(1), **usage)
    run("a", 7, 10, Exited(0), usage=Usage(2.0, 0.0, 5000))
    harness.now = start
    harness.add("b", tags=["x", "y"])
    run("b", 1, 11, Exited(0), **usage)
    harness.now = start
    harness.add("c", max_retries=1)
    run("c", 2, 3, Returned(), **usage)
    run("c", 5, 60, TimedOut(55), pid=None)
    harness.now = start
    harness.add("d", queue="q")
    run("d", 20, 30, Lost("worker-1"), pid=None)
    harness.add("e", priority=1)
    harness.now = start + 100
    harness.claim_job("e")
    return start


def test_cpu_seconds_are_rounded(harness: StoreHarness) -> None:
    """Sums of microseconds are whole microseconds: 0.3, not 0.30000000000000004."""
    harness.add("a")
    harness.settle(harness.claim_job("a"), Exited(0), started_at=harness.now, usage=Usage(0.1, 0.2, 1))
    assert total_stats(harness.store.db).cpu_s == 0.3


def test_all_metrics(harness: StoreHarness) -> None:
    """Every metric equals the one calculated by hand from the table above."""
    _known_day(harness)
    found = total_stats(harness.store.db)
    assert {state: n for state, n in found.counts.items() if n} == {
        "completed": 2,
        "dead": 1,
        "failed": 1,
        "processing": 1,
    }
    assert set(found.counts) == set(State)
    assert found.attempts == 7
    assert found.avg_duration_s == pytest.approx((3 + 10) / 2)
    assert found.run_s == {"p50": 4, "p95": 55}  # of 3, 4, 10, 55
    assert found.wait_s == {"p50": 1, "p95": 2}  # of those that ran: 0, 1, 1, 2
    assert found.attempts_per_job == pytest.approx(7 / 5)
    assert found.per_minute == pytest.approx(2)  # two successes from 0 to 60 seconds
    assert found.cpu_s == pytest.approx(3 * 1.5 + 2)
    assert found.max_rss_bytes == 5000


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("queue", {"default": (4, 3, 1), "q": (3, 2, 1)}),
        ("tag", {"x": (3, 2, 2), "y": (1, 1, 1)}),
        ("command", {"true": (7, 5, 2)}),
    ],
)
def test_groups(harness: StoreHarness, by: str, groups: dict[str, tuple[int, int, int]]) -> None:
    """By queue, tag or command, each group counts its own attempts, jobs and completed jobs."""
    _known_day(harness)
    harness.now += 1
    found = dict(stats(harness.store.db, by=by))
    assert {
        name: (each.attempts, sum(each.counts.values()), each.counts[State.COMPLETED]) for name, each in found.items()
    } == groups


def test_since(harness: StoreHarness) -> None:
    """Attempts that ended at or after the time and running ones are counted, and jobs that changed since."""
    start = _known_day(harness)
    found = total_stats(harness.store.db, since=start + 11)
    assert found.attempts == 4  # b, c's second, d, e
    assert sum(found.counts.values()) == 4
    assert found.run_s == {"p50": 10, "p95": 55}


def test_empty_queue(harness: StoreHarness) -> None:
    """Without attempts counts are 0 and metrics null; grouped, there are no groups."""
    found = total_stats(harness.store.db)
    assert set(found.counts.values()) == {0}
    assert found.attempts == 0
    assert (found.avg_duration_s, found.attempts_per_job, found.per_minute) == (None, None, None)
    assert (found.run_s, found.wait_s) == ({"p50": None, "p95": None}, {"p50": None, "p95": None})
    assert (found.cpu_s, found.max_rss_bytes) == (None, None)
    assert list(stats(harness.store.db, by="queue")) == []


def test_clock_set_back(harness: StoreHarness) -> None:
    """An attempt that ended before it started, or started before it was due, has duration 0."""
    harness.add("a")
    lease = harness.claim_job("a")
    harness.now -= 500
    harness.settle(lease, started_at=harness.now + 100)
    found = total_stats(harness.store.db)
    assert (found.avg_duration_s, found.run_s["p50"], found.wait_s["p50"]) == (0, 0, 0)
    assert found.per_minute == 1


def test_rate_of_a_short_time(harness: StoreHarness) -> None:
    """Two jobs that completed within a second are two a minute, not hundreds."""
    harness.add("a", "b")
    leases = harness.claim(2)
    harness.now += 0.5
    for lease in leases:
        harness.settle(lease, started_at=harness.now - 0.4)
    assert total_stats(harness.store.db).per_minute == 2


def test_unknown_group(harness: StoreHarness) -> None:
    """``--by`` accepts command, queue and tag, and the error says so."""
    with pytest.raises(BadInput, match="valid: command, queue, tag"):
        stats(harness.store.db, by="id; DROP TABLE jobs")


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("since", [None, 11])
@pytest.mark.parametrize("by", ["command", "queue", "tag"])
def test_largest_groups(
    harness: StoreHarness, by: str, since: float | None, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The groups with the longest total run time come first, with the statistics that they have among all."""
    monkeypatch.setattr("queuectl_nb.store.stats.FETCH_ROWS", 2)
    start = _known_day(harness)
    harness.add("never", command="echo never", queue="other", tags=["z"])
    at = None if since is None else start + since
    everything = dict(stats(harness.store.db, by=by, since=at))
    order = {"command": ["true", "echo never"], "queue": ["default", "q", "other"], "tag": ["x", "y", "z"]}[by]
    found, number = largest_groups(harness.store.db, by, limit, since=at)
    assert found == [(name, everything[name]) for name in order[:limit]]
    assert number == len(everything) == len(order)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.95, 0.01, 1.0]))
def test_nearest_rank(values: list[float], share: float) -> None:
    """A percentile is one of the values: the smallest with at least that share at or below it."""
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(each <= found for each in ordered) >= share * len(ordered) - 1e-9
    below = [each for each in ordered if each < found]
    assert len(below) < share * len(ordered) + 1e-9
