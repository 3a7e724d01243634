"""Trends: how the run time depends on the numbers of a command."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.parameters import MAX_FACTOR, Trends, divide_by_trends, fit_trends
from queuectl_nb.model.retry import RetryPolicy
from queuectl_nb.model.workload import Ended, RunningJob, WaitingJob, Workload

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = [(float(size), float(seed)) for seed in range(8) for size in (1, 2, 3, 4)]


def fit(seconds: Callable[[float, float], float]) -> Trends:
    """Return the trends of runs of four sizes with eight seeds."""
    return fit_trends([(numbers, seconds(*numbers)) for numbers in SIZES])


def test_line() -> None:
    """The factor is that of a straight line over the number, also beyond those that have run; 1 is the mean."""
    trends = fit(lambda size, _seed: 5 + 2 * size)
    assert [trends.factor((size, 0.0)) for size in (1.0, 2.5, 10.0)] == pytest.approx([0.7, 1, 2.5])
    falling = fit(lambda size, _seed: 50 - 10 * size)
    assert [falling.factor((size, 0.0)) for size in (1.0, 4.9, 9.0)] == pytest.approx(
        [1.6, 1 / MAX_FACTOR, 1 / MAX_FACTOR]
    )
    assert fit(lambda size, _seed: 2 * size).factor((999.0, 0.0)) == MAX_FACTOR


def test_several_numbers() -> None:
    """The factors of two numbers are multiplied."""
    trends = fit(lambda size, seed: size * (10 + seed))
    assert [each.at for each in trends.trends] == [0, 1]
    assert trends.factor((4.0, 7.0)) == pytest.approx(4 * 17 / (2.5 * 13.5), rel=0.1)


def test_chance() -> None:
    """Numbers that say nothing about the run time are hardly ever used; nor are those that all runs share.

    If all runs take the same time, there is nothing to say.
    """
    rng = random.Random(1)
    assert sum(bool(fit(lambda *_: rng.expovariate(1)).trends) for _ in range(50)) <= 2
    assert not fit_trends([((7.0,), float(number)) for number in range(50)]).trends
    assert not fit(lambda *_: 5.0).trends


def test_what_cannot_be_compared() -> None:
    """Few runs, and commands with another count of numbers, have the factor 1."""
    assert not fit_trends([(numbers, numbers[0]) for numbers in SIZES[:11]]).trends
    assert not fit_trends([*((numbers, numbers[0]) for numbers in SIZES), ((), 1.0)]).trends
    assert fit(lambda size, _seed: size).factor((1.0,)) == 1
    assert not fit_trends([]).trends


def test_workload() -> None:
    """Run times are divided by the factors, and waiting and running jobs get theirs; other work is left alone."""
    history = {"a": [Ended(10 * size, False, True, 5 * size, (size, seed)) for size, seed in SIZES], "b": [Ended(3.0)]}
    running = [RunningJob("a", 1.0, 0, before=30.0, numbers=(10.0, 0.0)), RunningJob("c", 1.0, 1, numbers=(4.0,))]
    waiting = [WaitingJob("a", (0, 0), before=8.0, numbers=(2.5, 0.0)), WaitingJob("b", (0, 1), numbers=(4.0,))]
    found = divide_by_trends(Workload(history, running, waiting, [], {}, RetryPolicy()))
    assert [each.seconds for each in found.history["a"]] == pytest.approx([25.0] * len(SIZES))
    assert [each.before for each in found.history["a"]] == pytest.approx([12.5] * len(SIZES))
    assert [job.factor for job in found.running] == [4, 1]
    assert [job.factor for job in found.waiting] == [1, 1]
    assert [job.before for job in found.running] == [7.5, None]
    assert [job.before for job in found.waiting] == [8, None]
    assert found.history["b"] == history["b"]
    plain = Workload({"b": history["b"]}, running[1:], waiting[1:], [], {}, RetryPolicy())
    assert divide_by_trends(plain) is plain
