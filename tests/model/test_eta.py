"""The estimate of the remaining time, on drawn and recorded run times.

A workload is run by a scheduler of its own up to the moment at which a fifth of its jobs is done; the estimate is made
from what is known then, and compared with the true end.
"""

from __future__ import annotations

import heapq
import json
import random
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from queuectl_nb.model.eta import Estimate, estimate
from queuectl_nb.model.retry import RetryPolicy
from queuectl_nb.model.workload import Ended, RunningJob, WaitingJob, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RECORDED = json.loads(Path(__file__).with_name("recorded_sweeps.json").read_text("utf-8"))
"""What each job of a sweep ran, and its seconds, in the order in which the jobs started: see ``record_sweeps.py``."""
ANY: frozenset[str] = frozenset()
POLICY = RetryPolicy(base=1.5)

DRAWN: dict[str, Callable[[random.Random, str], float]] = {
    "constant": lambda _rng, _work: 10.0,
    "exponential": lambda rng, _work: rng.expovariate(0.1),
    "lognormal": lambda rng, _work: rng.lognormvariate(1, 0.8),
    "bimodal": lambda rng, _work: rng.gauss(20, 1) if rng.random() < 0.2 else rng.gauss(1, 0.1),
}
MIXED: dict[str, Callable[[random.Random], float]] = {
    "a": lambda rng: rng.gauss(1, 0.1),
    "b": lambda rng: rng.expovariate(0.2),
    "c": lambda rng: rng.lognormvariate(2, 0.5),
}


class Job(NamedTuple):
    """A job of a workload: the run times of its attempts, of which all but the last fail."""

    work: str
    attempts: Sequence[float]
    numbers: tuple[float, ...] = ()


class Started(NamedTuple):
    """An attempt as it was run."""

    start: float
    end: float
    worker: int
    job: int
    number: int


def run(jobs: Sequence[Job], workers: int) -> list[Started]:
    """Run the jobs in order as workers do, with backoff after failures."""
    ready = [(job, 0) for job in range(len(jobs))]
    heapq.heapify(ready)
    delayed: list[tuple[float, int, int]] = []
    free = [(0.0, worker) for worker in range(workers)]
    started = []
    while ready or delayed:
        now, worker = heapq.heappop(free)
        if not ready:
            now = max(now, delayed[0][0])
        while delayed and delayed[0][0] <= now:
            _, job, number = heapq.heappop(delayed)
            heapq.heappush(ready, (job, number))
        job, number = heapq.heappop(ready)
        end = now + jobs[job].attempts[number]
        started.append(Started(now, end, worker, job, number))
        heapq.heappush(free, (end, worker))
        if number + 1 < len(jobs[job].attempts):
            heapq.heappush(delayed, (end + POLICY.delay(number + 1), job, number + 1))
    return started


def seen_at(jobs: Sequence[Job], started: Sequence[Started], at: float, workers: int) -> Workload:
    """Return what is known at a time."""
    history: dict[str, list[Ended]] = {job.work: [] for job in jobs}
    running = []
    last: dict[int, Started] = {}
    for each in started:
        job = jobs[each.job]
        first, left = each.number == 0, POLICY.max_retries - each.number
        before = None if first else job.attempts[each.number - 1]
        if each.end <= at:
            failed = each.number + 1 < len(job.attempts)
            history[job.work].append(Ended(each.end - each.start, failed, first, before, job.numbers))
        elif each.start <= at:
            running.append(
                RunningJob(
                    job.work,
                    at - each.start,
                    each.worker,
                    attempts_left=left - 1,
                    first=first,
                    before=before,
                    numbers=job.numbers,
                )
            )
        if each.start <= at and each.number >= (last[each.job].number if each.job in last else 0):
            last[each.job] = each
    waiting = []
    for number, job in enumerate(jobs):
        newest = last.get(number)
        if newest is None:
            waiting.append(WaitingJob(job.work, (0, number), attempts_left=POLICY.max_retries, numbers=job.numbers))
        elif newest.end <= at and newest.number + 1 < len(job.attempts):
            due_s = max(0.0, newest.end + POLICY.delay(newest.number + 1) - at)
            left = POLICY.max_retries - newest.number - 1
            seconds = job.attempts[newest.number]
            waiting.append(
                WaitingJob(job.work, (0, number), due_s=due_s, attempts_left=left, before=seconds, numbers=job.numbers)
            )
    return Workload(history, running, waiting, [ANY] * workers, {}, POLICY)


class Guess(NamedTuple):
    """An estimate and the truth."""

    found: Estimate
    true: float

    @property
    def error(self) -> float:
        """The relative error of the middle."""
        return abs(self.found.mid - self.true) / self.true

    @property
    def holds(self) -> bool:
        """Whether the end is in the range."""
        return self.found.low <= self.true <= self.found.high


def guess(jobs: Sequence[Job], workers: int, seed: int) -> Guess:
    """Estimate when a fifth of the jobs is done."""
    started = run(jobs, workers)
    ends = sorted(each.end for each in started if each.number + 1 == len(jobs[each.job].attempts))
    at = ends[len(ends) // 5 - 1]
    return Guess(estimate(seen_at(jobs, started, at, workers), seed), ends[-1] - at)


def failing(rng: random.Random, job: Job) -> Job:
    """Return a job of which one in ten always fails, and one in ten of the others once."""
    kind = rng.random()
    attempts = 3 if kind < 0.1 else 2 if kind < 0.2 else 1
    return Job(job.work, [job.attempts[0]] * attempts)


def flaky(rng: random.Random, job: Job) -> Job:
    """Return a job of which one in five fails once, somewhere on its way."""
    return Job(job.work, [job.attempts[0] * rng.random(), *job.attempts] if rng.random() < 0.2 else job.attempts)


def draw_jobs(kind: str, rng: random.Random, count: int) -> list[Job]:
    """Return the jobs of a kind of workload."""
    if kind == "mixed":
        works = [rng.choice("abc") for _ in range(count)]
        return [Job(work, [max(0.01, MIXED[work](rng))]) for work in works]
    if kind == "retried":
        return [failing(rng, job) for job in draw_jobs("lognormal", rng, count)]
    if kind == "flaky":
        return [flaky(rng, job) for job in draw_jobs("lognormal", rng, count)]
    return [Job("a", [max(0.01, DRAWN[kind](rng, "a"))]) for _ in range(count)]


def check(guesses: Sequence[Guess], error: float, held: float) -> None:
    """Check the median error, and the share of cases in which the range holds."""
    assert statistics.median(each.error for each in guesses) <= error
    assert sum(each.holds for each in guesses) >= held * len(guesses)


@pytest.mark.parametrize("kind", [*DRAWN, "mixed", "retried", "flaky"])
def test_accuracy(kind: str) -> None:
    """After a fifth is done the median error is at most 25 %, and the range holds in at least 80 % of cases."""
    found = []
    for workers in (1, 4, 16, 64):
        for seed in range(4):
            rng = random.Random(f"{kind} {workers} {seed}")
            found.append(guess(draw_jobs(kind, rng, 100 + 25 * workers), workers, seed))
    check(found, 0.25, 0.8)


@pytest.mark.parametrize(
    ("name", "shuffled"),
    [
        ("random search", True),
        ("random search", False),
        ("files", True),
        ("files", False),
        ("grid", True),
        ("grid", False),
    ],
)
def test_recorded(name: str, *, shuffled: bool) -> None:
    """The same holds for recorded sweeps, in the order in which the jobs ran and in others.

    A grid begins with its shortest jobs; from their numbers it is known that those to come will be longer.
    """
    found = []
    for workers in (1, 2, 4, 8):
        for seed in range(12 if shuffled else 2):
            runs = RECORDED[name]
            if shuffled:
                runs = random.Random(f"{name} {workers} {seed}").sample(runs, len(runs))
            found.append(
                guess([Job(work, [seconds], tuple(numbers)) for work, numbers, seconds in runs], workers, seed)
            )
    check(found, 0.25, 0.8)


@pytest.mark.parametrize("kind", ["constant", "exponential", "lognormal", "retried", "flaky"])
def test_few_jobs_on_many_workers(kind: str) -> None:
    """With a few jobs per worker, the longest one of those left decides: the range is wide, and holds nevertheless."""
    found = []
    for jobs, workers in ((40, 8), (60, 16), (100, 64)):
        for seed in range(8):
            rng = random.Random(f"few {kind} {jobs} {workers} {seed}")
            found.append(guess(draw_jobs(kind, rng, jobs), workers, seed))
    check(found, 0.5, 0.75)


def make(
    waiting: Sequence[WaitingJob] = (),
    running: Sequence[RunningJob] = (),
    *,
    workers: Sequence[frozenset[str]] = (ANY,),
    limits: dict[str, int] | None = None,
    seconds: Sequence[float] = (10.0,) * 50,
) -> float:
    """Return the middle of an estimate."""
    history = {work: [Ended(each) for each in seconds] for work in "ab"}
    return estimate(Workload(history, running, waiting, workers, limits or {}, POLICY)).mid


def jobs(count: int, **fields: object) -> list[WaitingJob]:
    """Return waiting jobs of ten seconds."""
    return [WaitingJob("a", (0, number), id=f"{number}", **fields) for number in range(count)]  # type: ignore[arg-type]


def test_workers_and_limits() -> None:
    """Jobs are spread over the workers that serve their queue, within the limit of the queue."""
    assert make(jobs(40)) == pytest.approx(400, rel=0.03)
    assert make(jobs(40), workers=[ANY] * 4) == pytest.approx(100, rel=0.03)
    assert make(jobs(40), workers=[ANY, frozenset({"gpu"})]) == pytest.approx(400, rel=0.03)
    assert make(jobs(40), workers=[ANY] * 4, limits={"default": 2}) == pytest.approx(200, rel=0.03)
    others = [job._replace(queue="b", id="") for job in jobs(10)]
    assert make([*jobs(10), *others], workers=[ANY] * 2, limits={"default": 1}) == pytest.approx(100, rel=0.1)


def test_order() -> None:
    """Jobs that start earlier count although they are not selected."""
    before = [job._replace(work="b", selected=False, order=(-1, job.order[1])) for job in jobs(20)]
    assert make([*jobs(20), *before]) == make([*before, *jobs(20)]) == pytest.approx(400, rel=0.03)


def test_jobs_behind_the_selected_ones() -> None:
    """However many there are, they add nothing; nor do others that are not selected, on workers of their own."""
    many = [job._replace(selected=False, order=(1, job.order[1])) for job in jobs(1000)]
    assert make([*jobs(10), *many]) == pytest.approx(100, rel=0.05)
    gpu = [job._replace(selected=False, queue="gpu", id="") for job in jobs(400)]
    workers = [frozenset({"default"}), frozenset({"gpu"})]
    assert make([*jobs(40), *gpu], workers=workers) == pytest.approx(400, rel=0.05)
    chosen = WaitingJob("a", (2, 0), "gpu", id="last")
    assert make([*jobs(10), *many, chosen], workers=workers) == pytest.approx(100, rel=0.05)
    assert make(many, running=[RunningJob("a", 4, 0)]) == pytest.approx(6, rel=0.05)


def test_selected_jobs_that_wait() -> None:
    """Jobs behind a selected one do not delay its next attempt; those before a job that it waits for delay it."""
    late = [job._replace(selected=False, order=(1, job.order[1]), id="") for job in jobs(1000)]
    assert make([*jobs(1, due_s=60.0), *late]) == pytest.approx(70, rel=0.2)
    needed = WaitingJob("a", (3, 0), selected=False, id="needed")
    selected = WaitingJob("a", (0, 0), id="selected", after=("needed",))
    assert make([*late, needed, selected]) == pytest.approx(10_020, rel=0.05)


def test_running() -> None:
    """A running job goes on as long as those that took longer than it until now, or as its progress says."""
    half = RunningJob("a", 4, 0)
    assert make(running=[half]) == pytest.approx(6, rel=0.05)
    assert make(running=[half._replace(progress=0.25)]) == pytest.approx(12, rel=0.3)
    assert make(running=[half], seconds=[1.0] * 30 + [20.0] * 30) == pytest.approx(16, rel=0.05)
    assert make(running=[half._replace(timeout_s=5)]) == pytest.approx(1)


def test_numbers() -> None:
    """If the run time depends on a number in the command, that of each job counts."""
    history = {"a": [Ended(0.5 * size, numbers=(size,)) for size in (2.0, 4.0, 6.0) for _ in range(20)]}
    waiting = [job._replace(numbers=(8.0,)) for job in jobs(20)]
    running = [RunningJob("a", 3.0, 0, numbers=(8.0,))]

    def middle(running: Sequence[RunningJob], waiting: Sequence[WaitingJob]) -> float:
        return estimate(Workload(history, running, waiting, [ANY], {}, POLICY)).mid

    assert middle([], waiting) == pytest.approx(80, rel=0.2)
    assert middle([], [job._replace(weight=50.0) for job in waiting]) == pytest.approx(4000, rel=0.2)
    assert middle([], [job._replace(numbers=()) for job in waiting]) == pytest.approx(40, rel=0.2)
    assert middle(running, []) == pytest.approx(1, abs=0.6)


def test_delays_and_chains() -> None:
    """A job does not start before it is due, nor before those that it waits for have finished."""
    assert make(jobs(1, due_s=3600.0)) == pytest.approx(3610, rel=0.03)
    chain = [job._replace(after=(f"{number - 1}",) if number else ()) for number, job in enumerate(jobs(10))]
    assert make(chain, workers=[ANY] * 10) == pytest.approx(100, rel=0.03)


def test_samples() -> None:
    """A sampled job stands for many; equal workloads give equal estimates."""
    sample = jobs(500, weight=200.0)
    assert make(sample, workers=[ANY] * 8) == pytest.approx(100_000 * 10 / 8, rel=0.03)
    assert make(sample) == make(sample)
