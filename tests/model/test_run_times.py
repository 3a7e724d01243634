"""Run times that are drawn from earlier attempts and from those that still run."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from queuectl_nb.model.run_times import RunTimes
from queuectl_nb.model.workload import Ended, RunningJob

KNOWN = [Ended(seconds) for seconds in (10.0, 20.0, 30.0)]


def running(*seconds: float, work: str = "a", first: bool = True) -> list[RunningJob]:
    """Return running attempts."""
    return [RunningJob(work, each, 0, first=first) for each in seconds]


def spread(ended: list[Ended], others: list[RunningJob]) -> float:
    """Return by how much repetitions differ from each other."""
    times, rng = RunTimes("a", ended, others), random.Random(1)
    found = []
    for _ in range(400):
        times.resample(rng)
        found.append(math.log(times.scale))
    return statistics.stdev(found)


def mean_rest(times: RunTimes, elapsed_s: float, *, first: bool = True) -> float:
    """Return how long attempts go on in the mean."""
    rng = random.Random(1)
    return statistics.fmean(times.draw_rest(rng, elapsed_s, first=first)[0] for _ in range(2000))


def test_uncertainty() -> None:
    """The estimate is less certain with few attempts, and with running ones that are longer than all of them."""
    assert spread(KNOWN, []) == pytest.approx(0.1, rel=0.1)
    assert spread(KNOWN * 10, []) == pytest.approx(0.01, rel=0.1)
    assert spread(KNOWN, running(5, 15, 30)) == pytest.approx(0.1, rel=0.1)
    assert spread(KNOWN, running(5, 31)) == pytest.approx(1.3 / 4, rel=0.1)
    for other in (running(31, work="b"), running(31, first=False)):
        assert spread(KNOWN, other) == spread(KNOWN, [])


def test_rest_of_a_run() -> None:
    """Attempts that took longer than a running one say how long it goes on."""
    times = RunTimes("a", [Ended(10.0), Ended(20.0, failed=True)], [])
    assert mean_rest(times, 0) == pytest.approx(15, rel=0.05)
    assert {times.draw_rest(random.Random(seed), 10, first=True) for seed in range(50)} == {(10.0, True)}
    assert mean_rest(times, 100) == pytest.approx(80, rel=0.1)
    assert mean_rest(times, 20) == pytest.approx(0.2, rel=0.1), "as long as the middle one: a hundredth"


def test_running_attempts_are_part_of_the_distribution() -> None:
    """Those that go on beyond all known run times make the longer ones likelier, those of other work do not."""
    alone = mean_rest(RunTimes("a", KNOWN, []), 0)
    assert alone == pytest.approx(20, rel=0.05)
    assert mean_rest(RunTimes("a", KNOWN, running(100, work="b")), 0) == alone
    assert mean_rest(RunTimes("a", KNOWN, running(25)), 0) == pytest.approx((10 + 20 + 30 * 2) / 4, rel=0.05)
    # one of four is longer: the mean of an exponential distribution, 160 s for three that have ended, beyond 100 s
    assert mean_rest(RunTimes("a", KNOWN, running(100)), 0) == pytest.approx((60 + 100 + 160 / 3) / 4, rel=0.1)


def test_retries() -> None:
    """A job takes the time of its first attempt and, as far as that fails, of those that may follow."""
    ended = [Ended(10.0, failed=True), Ended(30.0, failed=True, first=False), Ended(30.0, first=False)] * 2000
    times = RunTimes("a", ended, [])
    times.resample(random.Random(1))
    first_mean, first_variance = times.total(1, first=True)
    assert first_mean == pytest.approx(10, rel=0.01)
    assert first_variance == pytest.approx(0, abs=0.01)
    again, failing = times.total(1, first=False)[0], times.draw(random.Random(1), first=True)[1]
    assert failing
    assert again == pytest.approx(30, rel=0.01)
    assert times.total(2, first=True)[0] == pytest.approx(40, rel=0.01)
    assert times.total(3, first=True)[0] == pytest.approx(40 + 30 / 2, rel=0.15)
    assert times.total(3, first=True)[1] > times.total(2, first=True)[1] > first_variance
