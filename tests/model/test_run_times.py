"""Run times that are drawn from earlier attempts and from those that still run."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from queuectl_nb.model.run_times import RunTimes, draw_failed
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


def mean_rest(times: RunTimes, elapsed_s: float, before: float | None = None) -> float:
    """Return how long attempts go on in the mean."""
    rng = random.Random(1)
    return statistics.fmean(times.draw_rest(rng, elapsed_s, before)[0] for _ in range(4000))


def test_uncertainty() -> None:
    """The estimate is less certain with few attempts, and with running ones that are no shorter than all of them."""
    assert spread(KNOWN, []) == pytest.approx(0.4 / 3, rel=0.1)
    assert spread(KNOWN * 10, []) == pytest.approx(0.4 / 30, rel=0.1)
    assert spread(KNOWN, running(5, 15, 29)) == pytest.approx(0.4 / 3, rel=0.1)
    assert spread(KNOWN, running(5, 30)) == pytest.approx(1.4 / 4, rel=0.1)
    for other in (running(31, work="b"), running(31, first=False)):
        assert spread(KNOWN, other) == spread(KNOWN, [])


def test_rest_of_a_run() -> None:
    """Attempts that took longer than a running one say how long it goes on; beyond them it is unknown."""
    times = RunTimes("a", [Ended(10.0), *[Ended(20.0, failed=True)] * 5], [])
    assert mean_rest(times, 0) == pytest.approx(110 / 6, rel=0.05)
    rest, _ = times.draw_rest(random.Random(1), 12)
    assert rest == pytest.approx(8)
    assert mean_rest(times, 100) == pytest.approx(80, rel=0.1), "as much longer as it is already"
    times.scale = 2.0
    assert times.draw_rest(random.Random(1), 22)[0] == pytest.approx(18), "of 40 s"


def test_longest_run_times_vary() -> None:
    """The longest of a few run times are drawn from a distribution with their mean: others may be longer."""
    times, rng = RunTimes("a", [Ended(float(seconds)) for seconds in range(1, 11)], []), random.Random(1)
    drawn = []
    for _ in range(4000):
        times.resample(rng)
        drawn.append(times.draw(rng)[0])
    assert statistics.fmean(drawn) == pytest.approx(5.5, rel=0.05)
    assert max(drawn) > 12
    constant = RunTimes("a", [Ended(10.0)] * 10, [])
    constant.resample(rng)
    assert {constant.draw(rng)[0] / constant.scale for _ in range(100)} == {10}


def test_running_attempts_are_part_of_the_distribution() -> None:
    """Those that go on beyond known run times make the longer ones likelier, those of other work do not."""
    alone = mean_rest(RunTimes("a", KNOWN, []), 0)
    assert alone == pytest.approx(20, rel=0.05)
    assert mean_rest(RunTimes("a", KNOWN, running(100, work="b")), 0) == alone
    # three of four are longer than 10 s, by the mean of an exponential distribution of which two have ended
    assert mean_rest(RunTimes("a", KNOWN, running(25)), 0) == pytest.approx(10 + (10 + 20 + 15) / 2 * 3 / 4, rel=0.05)
    assert mean_rest(RunTimes("a", KNOWN, running(100)), 0) == pytest.approx(10 + (10 + 20 + 90) / 2 * 3 / 4, rel=0.05)


def test_retries() -> None:
    """A retry takes as long as the attempt before it or as another retry, as often as earlier ones did."""
    first, rng = [Ended(10.0, failed=True)] * 50, random.Random(1)
    for before, alike in ((30.0, 101 / 102), (3.0, 1 / 102)):
        times = RunTimes("a", [*first, *[Ended(30.0, failed=True, first=False, before=before)] * 100], [])
        times.resample(rng)
        drawn = [times.draw(rng, 7.0) for _ in range(4000)]
        assert {seconds for seconds, _ in drawn} == {7.0, 30.0}
        assert sum(seconds == 7.0 for seconds, _ in drawn) == pytest.approx(4000 * alike, rel=0.3)
        assert statistics.fmean(failed for _, failed in drawn) > 0.98
    assert mean_rest(times, 20, 7.0) == pytest.approx(10)


def test_rest_of_a_retry() -> None:
    """A running retry goes on until it has taken as long as the attempt before it."""
    retries = [Ended(30.0, first=False, before=before) for before in (30.0, 100.0)] * 50
    times, rng = RunTimes("a", [Ended(30.0), *retries], []), random.Random(1)
    assert {times.draw_rest(rng, 4.0, 50.0)[0] for _ in range(100)} == {46.0, 26.0}


@pytest.mark.parametrize(
    ("seconds", "alike"),
    [(75.1, True), (133.2, True), (75.0, False), (100 / 0.75, False), (74.0, False), (140.0, False)],
)
def test_what_counts_as_the_same_run(seconds: float, alike: bool) -> None:
    """A retry is like the attempt before it if neither took more than a third longer than the other."""
    times, rng = RunTimes("a", [Ended(100.0), *[Ended(seconds, first=False, before=100.0)] * 100], []), random.Random(1)
    times.resample(rng)
    drawn = [times.draw(rng, 7.0)[0] for _ in range(300)]
    assert (drawn.count(7.0) > 200) == alike


def test_unit() -> None:
    """What takes a thousandth of the time has a thousandth of the run time, of the rest and of the mean."""

    def sizes(unit: float) -> list[float]:
        times = RunTimes("a", [Ended(seconds * unit) for seconds in range(1, 11)], running(4 * unit, 20 * unit))
        rng = random.Random(1)
        times.resample(rng)
        rests = [times.draw_rest(rng, elapsed_s * unit)[0] for elapsed_s in (0, 5, 9, 50) for _ in range(20)]
        mean, variance, _ = times.describe(rng)
        return [each / unit for each in (times.draw(rng)[0], mean, math.sqrt(variance), *rests)]

    assert sizes(0.001) == pytest.approx(sizes(1))


def test_sum() -> None:
    """Many attempts have the mean and variance of those that ended, and as many fail as did."""
    times, rng = RunTimes("a", [Ended(10.0), Ended(20.0, failed=True)] * 50, []), random.Random(1)
    times.resample(rng)
    mean, variance, failing = times.describe(rng)
    assert mean == pytest.approx(15, rel=0.15)
    assert variance == pytest.approx(25, rel=0.3)
    assert failing == pytest.approx(0.5, rel=0.4)
    assert times.failed_s == pytest.approx(20, rel=0.05)
    failures = [draw_failed(rng, 1000, 0.5) for _ in range(300)]
    assert statistics.fmean(failures) == pytest.approx(500, rel=0.02)
    assert statistics.stdev(failures) == pytest.approx(math.sqrt(1000 / 4), rel=0.2)
    assert draw_failed(rng, 1000, 0) == 0
