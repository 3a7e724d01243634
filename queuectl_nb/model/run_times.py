"""How long jobs of a kind of work take, drawn from earlier attempts of it."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

from queuectl_nb.model.workload import Ended

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from queuectl_nb.model.workload import RunningJob

__all__ = ["RunTimes"]

RESAMPLED = 40
"""Attempts that a repetition draws its run times from; redrawn each time, since the true distribution is not known."""
MUCH_CENSORED = 0.15
"""Share of unknown run times from which on the observed ones say little about the longest."""
TAIL = tuple(-math.log(1 - (number + 0.5) / 6) for number in range(6))
"""Quantiles of the exponential distribution."""


class RunTimes:
    """The run times of a kind of work.

    Running attempts count as well: they will take longer than until now. Without them, only the short ones of the
    attempts that were started together would be known at first (Kaplan and Meier 1958).
    """

    def __init__(self, work: str, ended: Sequence[Ended], running: Sequence[RunningJob]) -> None:
        """Draw from attempts that have ended, at least one."""
        later = [each for each in ended if not each.first]
        first = [each for each in ended if each.first]
        elapsed = sorted(job.elapsed_s for job in running if job.work == work and job.first)
        self._all = {True: _weigh(first or later, elapsed), False: _weigh(later or first, [])}
        self._seconds = {kind: [each.seconds for each in attempts] for kind, (attempts, _) in self._all.items()}
        unknown = len(elapsed) - bisect_right(elapsed, max(ended).seconds)
        self._uncertainty = (0.3 + unknown) / (unknown + len(ended))
        self.scale = 1.0

    def resample(self, rng: random.Random) -> None:
        """Choose the run times of the next repetition."""
        self.scale = math.exp(rng.gauss(0, self._uncertainty))
        self._chosen = {
            first: rng.choices(ended, cum_weights=weights, k=min(max(2, len(ended)), RESAMPLED))
            for first, (ended, weights) in self._all.items()
        }
        self._moments = {first: _moments(ended) for first, ended in self._chosen.items()}

    def draw(self, rng: random.Random, *, first: bool) -> tuple[float, bool]:
        """Return the run time of an attempt and whether it fails."""
        ended = rng.choice(self._chosen[first])
        return ended.seconds * self.scale, ended.failed

    def draw_rest(self, rng: random.Random, elapsed_s: float, *, first: bool) -> tuple[float, bool]:
        """Return how long a running attempt goes on, and whether it fails."""
        ended, weights = self._all[first]
        start = bisect_right(self._seconds[first], elapsed_s / self.scale)
        if start == len(ended):  # longer than all: it may end soon, or be another kind of run
            return rng.expovariate(1.0) * max(elapsed_s - ended[len(ended) // 2].seconds, elapsed_s / 100), False
        known = weights[start - 1] if start else 0.0
        found = ended[min(bisect_right(weights, known + rng.random() * (weights[-1] - known)), len(ended) - 1)]
        return max(0.0, found.seconds * self.scale - elapsed_s), found.failed

    def total(self, attempts_left: int, *, first: bool) -> tuple[float, float]:
        """Return mean and variance of the time that a job takes with its retries."""
        mean, variance, failing = self._moments[first]
        if not failing or attempts_left <= 1:
            return mean * self.scale, variance * self.scale**2
        later, later_variance, failing_again = self._moments[False]
        retries = failing * sum(failing_again**n for n in range(min(attempts_left - 1, 50)))
        return (mean + retries * later) * self.scale, (variance + retries * (later_variance + later**2)) * self.scale**2


def _weigh(ended: Sequence[Ended], elapsed: Sequence[float]) -> tuple[list[Ended], list[float]]:
    """Return attempts by run time with cumulative weights; ``elapsed`` are the times of attempts that go on."""
    found = sorted(ended)
    at_risk = len(found) + len(elapsed)
    survival, total, passed = 1.0, 0.0, 0
    weights = []
    for each in found:
        while passed < len(elapsed) and elapsed[passed] < each.seconds:
            passed += 1
            at_risk -= 1
        total += survival / at_risk
        survival -= survival / at_risk
        at_risk -= 1
        weights.append(total)
    if passed < len(elapsed) and found:  # longer than all that have ended: the rest is taken as exponential
        if survival > MUCH_CENSORED:
            mean = (sum(each.seconds for each in found) + sum(elapsed)) / len(found)
        else:
            mean = elapsed[-1] - found[len(found) // 2].seconds
        found += [Ended(elapsed[-1] + mean * quantile) for quantile in TAIL]
        weights += [total + survival * (number + 1) / len(TAIL) for number in range(len(TAIL))]
    return found, weights


def _moments(ended: Sequence[Ended]) -> tuple[float, float, float]:
    """Return mean and variance of run times, and the share of failures."""
    count = len(ended)
    mean = sum(each.seconds for each in ended) / count
    variance = sum((each.seconds - mean) ** 2 for each in ended) / count
    return mean, variance, sum(each.failed for each in ended) / count
