"""How the run time depends on the numbers in a command or call, such as the size of a model."""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.workload import Ended, RunningJob, WaitingJob, Workload

__all__ = ["Numbers", "Trends", "divide_by_trends", "fit_trends"]

Numbers: TypeAlias = tuple[float, ...]
"""The numbers in a command or call, in order."""
_Job = TypeVar("_Job", "RunningJob", "WaitingJob")
MIN_RUNS = 12
MIN_SIGNIFICANCE = 3.0
"""Minimum rank correlation of a trend, in standard deviations of the correlation of unrelated numbers."""
MAX_RUNS = 100
"""Maximum number of runs in which trends are searched."""
MAX_TRENDS = 2
MAX_FACTOR = 8.0
FACTORS_PER_DOUBLING = 4
"""Factors are rounded, so that similar jobs are simulated together."""


class _Trend(NamedTuple):
    """The run time as a straight line over one of the numbers, relative to its mean."""

    at: int
    intercept: float
    slope: float

    def factor(self, numbers: Numbers) -> float:
        return min(MAX_FACTOR, max(1 / MAX_FACTOR, self.intercept + self.slope * numbers[self.at]))


class Trends(NamedTuple):
    """The product of the trends over several numbers; without any, all factors are 1."""

    length: int = 0
    trends: tuple[_Trend, ...] = ()

    def factor(self, numbers: Numbers) -> float:
        """Return how much longer than on average a run with these numbers takes."""
        if len(numbers) != self.length:
            return 1.0
        return math.prod(each.factor(numbers) for each in self.trends)


def fit_trends(runs: Sequence[tuple[Numbers, float]]) -> Trends:
    """Find the numbers on which the run time depends most, among runs (their numbers, and seconds) of the same work."""
    if len(runs) < MIN_RUNS or len({len(numbers) for numbers, _ in runs}) > 1:
        return Trends()
    runs = runs[:: -(-len(runs) // MAX_RUNS)]
    count = len(runs[0][0])
    columns = {at: [numbers[at] for numbers, _ in runs] for at in range(count)}
    ranks = {at: _ranks(values) for at, values in columns.items() if len(set(values)) > 1}
    seconds = [each for _, each in runs]
    found: list[_Trend] = []
    while ranks and len(found) < MAX_TRENDS:
        of_seconds = _ranks(seconds)
        strength, at = max((abs(_correlation(each, of_seconds)), at) for at, each in ranks.items())
        if strength * math.sqrt(len(runs) - 1) < MIN_SIGNIFICANCE:
            break
        del ranks[at]
        trend = _fit_line(at, columns[at], seconds)
        if trend is None:
            continue
        found.append(trend)
        seconds = [each / trend.factor(numbers) for (numbers, _), each in zip(runs, seconds, strict=True)]
    return Trends(count, tuple(found))


def divide_by_trends(workload: Workload) -> Workload:
    """Return a workload with the run times as those of average numbers would be, and the factors of its jobs."""
    trends = {
        work: fit_trends([(each.numbers, each.seconds) for each in ended if each.first])
        for work, ended in workload.history.items()
    }
    trends = {work: found for work, found in trends.items() if found.trends}
    if not trends:
        return workload
    history = dict(workload.history)
    for work, found in trends.items():
        history[work] = [_divide(each, found.factor(each.numbers)) for each in history[work]]
    return workload._replace(
        history=history,
        running=[_scale(job, trends) for job in workload.running],
        waiting=[_scale(job, trends) for job in workload.waiting],
    )


def _divide(ended: Ended, factor: float) -> Ended:
    before = None if ended.before is None else ended.before / factor
    return ended._replace(seconds=ended.seconds / factor, before=before)


def _scale(job: _Job, trends: Mapping[str, Trends]) -> _Job:
    if job.work not in trends:
        return job
    factor = trends[job.work].factor(job.numbers)
    factor = 2 ** (round(FACTORS_PER_DOUBLING * math.log2(factor)) / FACTORS_PER_DOUBLING)
    return job._replace(factor=factor, before=None if job.before is None else job.before / factor)


def _fit_line(at: int, values: Sequence[float], seconds: Sequence[float]) -> _Trend | None:
    """Return the line through the centres of the lowest and the highest third of the values."""
    runs = sorted(zip(values, seconds, strict=True), key=itemgetter(0))
    third = max(1, len(runs) // 3)
    (left, low), (right, high) = (_middle(part) for part in (runs[:third], runs[-third:]))
    mean = math.fsum(seconds) / len(seconds)
    if right <= left or mean <= 0:
        return None
    slope = (high - low) / (right - left) / mean
    return _Trend(at, 1 - slope * math.fsum(values) / len(values), slope)


def _middle(runs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return math.fsum(each[0] for each in runs) / len(runs), math.fsum(each[1] for each in runs) / len(runs)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value minus the mean rank; equal ones share theirs.

    >>> _ranks([3.0, 1.0, 3.0])
    [0.5, -1.0, 0.5]
    """
    rank_of, start = {}, 0
    ordered = sorted(values)
    while start < len(ordered):
        end = start
        while end < len(ordered) and ordered[end] == ordered[start]:
            end += 1
        rank_of[ordered[start]] = (start + end - len(ordered)) / 2
        start = end
    return [rank_of[value] for value in values]


def _correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the correlation of two lists with the mean 0."""
    size = math.sqrt(math.fsum(each * each for each in first) * math.fsum(each * each for each in second))
    return math.fsum(a * b for a, b in zip(first, second, strict=True)) / size if size else 0.0
