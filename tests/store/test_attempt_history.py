"""The history of attempts as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store.attempt_history import (
    RUNNING,
    attempt_durations,
    attempt_spans,
    count_outcomes,
    finish_time_range,
)
from queuectl_nb.store.claims import StartedAttempt

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


@pytest.fixture
def begun(harness: StoreHarness) -> float:
    """Run a job for 1 s and one for 3 s, which fails; start a third 10 s later; return when the first began."""
    began: float = harness.now
    harness.add("a", queue="q", tags=["x", "y"])
    harness.add("b", command="false", max_retries=1)
    for job_id, code, seconds in (("a", 0, 1.0), ("b", 1, 3.0)):
        lease = harness.claim_job(job_id)
        started = harness.now
        harness.now += seconds
        harness.settle(lease, Exited(code), started_at=started)
    harness.now = began + 10
    harness.add("c")
    harness.settle_and_claim(started=[StartedAttempt(harness.claim_job("c"), 7, harness.now)])
    return began


def test_spans(harness: StoreHarness, begun: float) -> None:
    """Each attempt has its worker, outcome and times; one that runs ends at the time of the query."""
    spans = attempt_spans(harness.store.db, since=None, now=begun + 20)
    rows = sorted(
        (start - begun, end - begun, spans.workers[worker], spans.outcomes[outcome])
        for start, end, worker, outcome in zip(
            spans.started_at, spans.finished_at, spans.worker, spans.outcome, strict=True
        )
    )
    assert rows == [
        (0.0, 1.0, "worker-1", "succeeded"),
        (1.0, 4.0, "worker-1", "failed"),
        (10.0, 20.0, "worker-1", RUNNING),
    ]
    assert len(attempt_spans(harness.store.db, since=begun + 2, now=begun + 20).started_at) == 2
    assert len(attempt_spans(harness.store.db, since=None, now=begun + 20, limit=1).started_at) <= 2


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("queue", {("q", "succeeded", 1.0), ("default", "failed", 3.0)}),
        ("command", {("true", "succeeded", 1.0), ("false", "failed", 3.0)}),
        ("tag", {("x", "succeeded", 1.0), ("y", "succeeded", 1.0)}),
    ],
)
def test_durations(harness: StoreHarness, begun: float, by: str, expected: object) -> None:
    """Run times are grouped, without those of attempts that still run."""
    found = attempt_durations(harness.store.db, by=by, since=None)
    rows = zip(found.group, found.outcome, found.seconds, strict=True)
    assert {(found.groups[group], found.outcomes[outcome], seconds) for group, outcome, seconds in rows} == expected
    recent = attempt_durations(harness.store.db, by=by, since=begun + 2)
    assert list(recent.seconds) == ([] if by == "tag" else [3.0])
    with pytest.raises(BadInput, match="group 'x' is unknown"):
        attempt_durations(harness.store.db, by="x", since=None)


def test_ends(harness: StoreHarness, begun: float) -> None:
    """The first and the last end, and how many there are in each slice."""
    assert finish_time_range(harness.store.db, since=None) == (begun + 1, begun + 4)
    assert finish_time_range(harness.store.db, since=begun + 2) == (begun + 4, begun + 4)
    assert finish_time_range(harness.store.db, since=begun + 5) is None
    counted = count_outcomes(harness.store.db, start=begun, end=begun + 4, slice_s=2.0)
    assert sorted(counted) == [(0, "succeeded", 1), (2, "failed", 1)]
    assert count_outcomes(harness.store.db, start=begun, end=begun + 3, slice_s=2.0) == [(0, "succeeded", 1)]
