"""How long jobs of a kind of work take, drawn from earlier attempts of it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from queuectl_nb.model.workload import Ended

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from queuectl_nb.model.workload import RunningJob

__all__ = ["RunTimes", "draw_failed"]

RESAMPLED = 60
"""Maximum number of attempts from which a repetition draws its run times; it draws these attempts, too."""
HIGH_CENSORING = 0.15
"""Share of unknown run times above which half of the observed ones count as the longest."""
TAIL_SHARE = 0.1
"""Share of the observed run times, at least three, that are replaced by the exponential distribution."""
MIN_SIMILARITY = 0.75
"""Ratio of run times above which a retry counts as the same run as the attempt before it."""
SAMPLED_RETRIES = 8
TREND_ERROR = 0.25
"""Error of the exponent of factors: jobs with numbers that no run had before may take more or less time."""
BEYOND = Ended(math.inf)
"""An attempt that runs at least as long as the longest known one."""


class RunTimes:
    """The run times of a kind of work.

    Running attempts count as well: their run times are at least those so far. Without them, of attempts that were
    started together only the short ones would be known at first (Kaplan and Meier 1958). The longest run times are
    modelled as exponential beyond a threshold, with the observed mean, because future ones may be longer than all. A
    retry takes as long as the attempt before it, or as another retry, in the observed proportion.
    """

    def __init__(self, work: str, ended: Sequence[Ended], running: Sequence[RunningJob]) -> None:
        """Draw from attempts that have ended, at least one."""
        later = [each for each in ended if not each.first]
        elapsed = sorted(job.elapsed_s / job.factor for job in running if job.work == work and job.first)
        self._ended = sorted([each for each in ended if each.first] or later)
        self._count = max(2, min(len(self._ended), RESAMPLED))
        self._fails = sum(each.failed for each in self._ended) / len(self._ended)
        self._seconds = [each.seconds for each in self._ended]
        self._longest = self._seconds[-1]
        self._weights = _weigh(self._seconds, elapsed)
        self._least, self._excess = self._cut_longest(elapsed)
        similar = sum(each.before is not None and _are_similar(each.seconds, each.before) for each in later)
        self._similar = (similar + 1) / (len(later) + 2)
        self._retries = [each.seconds for each in later]
        self._fails_again = (sum(each.failed for each in later) + 0.5) / (len(later) + 1)
        unknown = len(elapsed) - bisect_left(elapsed, self._longest)
        self._uncertainty = (0.4 + unknown) / (unknown + len(ended))
        self.scale = self.trend = 1.0

    def resample(self, rng: random.Random) -> None:
        """Choose the run times of the next repetition."""
        self.scale = math.exp(rng.gauss(0, self._uncertainty))
        self.trend = rng.gauss(1, TREND_ERROR)
        count = self._count
        self._chosen = rng.choices(self._ended, cum_weights=self._weights, k=count)
        known = [each.seconds for each in self._chosen if each is not BEYOND]
        beyond, long = count - len(known), self._least + self._excess
        mean = (sum(known) + beyond * long) / count
        square = sum(each**2 for each in known) + beyond * (long**2 + self._excess**2)
        self._mean, self._variance = mean * self.scale, max(0.0, square / count - mean**2) * self.scale**2
        self._failing = (sum(each.failed for each in self._chosen) + beyond * self._fails) / count

    def draw(self, rng: random.Random, before: float | None = None) -> tuple[float, bool]:
        """Return the run time of an attempt and whether it fails; ``before`` is that of the attempt before it."""
        if before is not None:
            return self._draw_retry(rng, before), rng.random() < self._fails_again
        ended = rng.choice(self._chosen)
        if ended is BEYOND:
            seconds = self._least + rng.expovariate(1.0) * self._excess
            return seconds * self.scale, rng.random() < self._fails
        return ended.seconds * self.scale, ended.failed

    def draw_rest(self, rng: random.Random, elapsed_s: float, before: float | None = None) -> tuple[float, bool]:
        """Return how much longer a running attempt runs, and whether it fails."""
        if before is not None:
            failed = rng.random() < self._fails_again
            if before > elapsed_s and rng.random() < self._similar:
                return before - elapsed_s, failed
            if longer := [each - elapsed_s for each in self._retries if each > elapsed_s]:
                return rng.choice(longer), failed
        start = bisect_right(self._seconds, elapsed_s / self.scale)
        known = self._weights[start - 1] if start else 0.0
        weight = known + rng.random() * (self._weights[-1] - known)
        ended = self._ended[bisect_right(self._weights, weight, hi=len(self._ended) - 1)]
        if ended is not BEYOND:
            return max(0.0, ended.seconds * self.scale - elapsed_s), ended.failed
        # much longer than all: it may end soon, or be another kind of run
        mean = max(self._excess * self.scale, elapsed_s - self._longest * self.scale)
        rest = max(0.0, self._least * self.scale - elapsed_s) + rng.expovariate(1.0) * mean
        return rest, rng.random() < self._fails

    def describe(self, rng: random.Random, before: float | None = None) -> tuple[float, float, float]:
        """Return mean and variance of the run time of many attempts, and the share of them that fails."""
        if before is None:
            return self._mean, self._variance, self._failing
        retries = [self._draw_retry(rng, before) for _ in range(SAMPLED_RETRIES)]
        mean = sum(retries) / len(retries)
        return mean, sum((each - mean) ** 2 for each in retries) / len(retries), self._fails_again

    def _cut_longest(self, elapsed: Sequence[float]) -> tuple[float, float]:
        """Replace the longest run times by :data:`BEYOND`; return where they begin, and their mean from there on."""
        seconds, count = self._seconds, max(3, round(TAIL_SHARE * len(self._seconds)))
        if self._weights[-1] < 1 - HIGH_CENSORING:
            count = max(count, len(seconds) // 2)
        start = max(1, len(seconds) - count)
        if start >= len(seconds):
            return self._longest, 0.0
        least, longest = seconds[start - 1], seconds[start:]
        excess = sum(each - least for each in [*longest, *elapsed] if each > least)
        self._seconds, self._ended = seconds[:start], [*self._ended[:start], BEYOND]
        self._weights = [*self._weights[:start], 1.0]
        return least, excess / len(longest)

    def _draw_retry(self, rng: random.Random, before: float) -> float:
        if rng.random() < self._similar:
            return before
        return rng.choice(self._retries) if self._retries else self.draw(rng)[0]

    @property
    def failed_s(self) -> float:
        """The mean run time of attempts that fail."""
        failed = [each.seconds for each in self._chosen if each.failed]
        return sum(failed) * self.scale / len(failed) if failed else self._mean


def draw_failed(rng: random.Random, count: float, failing: float) -> int:
    """Return how many of ``count`` attempts fail if ``failing`` is the expected share."""
    if not failing:
        return 0
    failed = rng.gauss(failing * count, math.sqrt(failing * (1 - failing) * count))
    return max(0, min(round(failed), int(count)))


def _are_similar(seconds: float, before: float) -> bool:
    return MIN_SIMILARITY * before < seconds < before / MIN_SIMILARITY


def _weigh(seconds: Sequence[float], elapsed: Sequence[float]) -> list[float]:
    """Return cumulative weights of ended attempts; ``elapsed`` are the run times so far of running attempts."""
    at_risk = len(seconds) + len(elapsed)
    survival, passed = 1.0, 0
    weights = []
    for each in seconds:
        while passed < len(elapsed) and elapsed[passed] < each:
            passed += 1
            at_risk -= 1
        survival -= survival / at_risk
        at_risk -= 1
        weights.append(1 - survival)
    return weights
