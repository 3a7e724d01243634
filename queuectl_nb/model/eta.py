"""Estimates when jobs will have finished, by simulating the queue with the run times of earlier attempts.

Each repetition draws the run times of the jobs from those of attempts of the same work, and runs them in claim order on
the workers that there are, with limits, retries, delays and dependencies. Its inputs are plain data and its random
numbers have a fixed seed: equal inputs give equal estimates.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from queuectl_nb.model.parameters import divide_by_trends
from queuectl_nb.model.run_times import RunTimes, draw_failed
from queuectl_nb.model.workload import MIN_PROGRESS, WaitingJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.workload import RunningJob, Workload

__all__ = ["Estimate", "estimate"]

SIMULATED_JOBS = 1000
"""Jobs simulated in all repetitions together: about four milliseconds."""
MIN_REPETITIONS, MAX_REPETITIONS = 10, 30
WIDTH = 2.0
"""Half of the range in standard deviations of the logarithm: twice as long is as likely as half as long."""
SHORTEST_S = 1e-3
MARGIN = 0.1
"""The range is wider by this fraction, for what is not simulated: other programs on the machine, for example."""
LONG_BLOCK = 100
"""This number of jobs per worker is divided into small blocks; what comes before is a block for each worker."""
MAX_RETRIES = 50
"""Maximum number of retries that are simulated."""
PROGRESS_ERROR = 0.25
"""Relative error of the rest of a run when it is derived from its progress at the start."""


class Estimate(NamedTuple):
    """Seconds until the selected jobs have finished: the median, and a range that holds in about 90 % of cases."""

    low: float
    mid: float
    high: float


def estimate(workload: Workload, seed: int = 0) -> Estimate:
    """Return when the selected jobs of a workload will have finished."""
    workload = divide_by_trends(workload)
    blocks = _make_blocks(workload)
    models = {work: RunTimes(work, ended, workload.running) for work, ended in workload.history.items()}
    size = len(blocks) + len(workload.running) + 1
    repetitions = max(MIN_REPETITIONS, min(MAX_REPETITIONS, SIMULATED_JOBS // size))
    rng = random.Random(seed)
    ends = []
    for _ in range(repetitions):
        for model in models.values():
            model.resample(rng)
        ends.append(_Simulation(workload, blocks, models, rng).run())
    mid = sorted(ends)[repetitions // 2]
    logs = [math.log(max(end, SHORTEST_S)) for end in ends]
    mean = math.fsum(logs) / repetitions
    spread = WIDTH * math.sqrt(math.fsum((each - mean) ** 2 for each in logs) / (repetitions - 1))
    return Estimate(
        min(mid, math.exp(mean - spread)) * (1 - MARGIN), mid, max(mid, math.exp(mean + spread)) * (1 + MARGIN)
    )


class _Kind(NamedTuple):
    """What the run time of a waiting job depends on."""

    work: str
    attempts_left: int
    before: float | None
    factor: float


_Failures: TypeAlias = "Sequence[tuple[_Kind, int]]"


class _Block(NamedTuple):
    """Jobs that a worker runs one after the other: one job or, far from the end of the queue, many."""

    order: tuple[float, float]
    queue: str
    jobs: Sequence[tuple[_Kind, float]]
    """The number of jobs of each kind."""
    due_s: float = 0
    selected: bool = True
    id: str = ""
    after: tuple[str, ...] = ()


def _make_blocks(workload: Workload) -> list[_Block]:
    """Return the waiting jobs in blocks.

    As in guided self-scheduling, a block has an equal share of what is left in its queue, so that blocks become
    smaller towards the end and the workers finish as they would with single jobs. Jobs that start after all that are
    needed are left out, and a block with selected jobs ends with one.
    """
    named = {name for job in workload.waiting for name in job.after}
    others = {job.id: job for job in workload.waiting if job.id in named}
    needed = [job for job in workload.waiting if job.selected]
    for job in needed:
        needed += [others.pop(name) for name in job.after if name in others]
    last = max((job.order for job in needed), default=(-math.inf, 0.0))
    blocks, plain = [], defaultdict[str, list[WaitingJob]](list)
    for job in workload.waiting:
        if job.due_s > 0 or job.after or job.id in named:
            kind = _Kind(job.work, job.attempts_left, job.before, job.factor)
            blocks.append(
                _Block(job.order, job.queue, [(kind, job.weight)], job.due_s, job.selected, job.id, job.after)
            )
        elif job.order <= last:
            plain[job.queue].append(job)
    for queue, jobs in plain.items():
        servers = sum(not queues or queue in queues for queues in workload.workers)
        jobs.sort(key=lambda job: job.order)
        end = max((number for number, job in enumerate(jobs, 1) if job.selected), default=0)
        for part in filter(None, (jobs[:end], jobs[end:])):
            blocks += _divide(part, max(1, min(servers, workload.limits.get(queue, servers))))
    return blocks


def _divide(jobs: Sequence[WaitingJob], servers: int) -> list[_Block]:
    """Return the blocks of a queue, whose ``jobs`` are in order."""
    blocks: list[_Block] = []
    left = math.fsum(job.weight for job in jobs)
    long, room = left / servers - LONG_BLOCK, 0.0
    content: dict[_Kind, float] = {}
    first, selected = jobs[0], False
    for job in jobs:
        kind, count = _Kind(job.work, job.attempts_left, job.before, job.factor), job.weight
        while count > 0:
            if not content:
                first, selected = job, False
                room = max(1.0, long if len(blocks) < servers and long > 0 else left // servers // 2)
            taken = min(count, room)
            content[kind] = content.get(kind, 0) + taken
            selected |= job.selected
            count, room, left = count - taken, room - taken, left - taken
            if room < 0.5:
                blocks.append(_Block(first.order, first.queue, [*content.items()], 0, selected))
                content = {}
    if content:
        blocks.append(_Block(first.order, first.queue, [*content.items()], 0, selected))
    return blocks


class _Simulation:
    """One repetition: events are ends of blocks and times at which jobs are due."""

    def __init__(
        self, workload: Workload, blocks: Sequence[_Block], models: Mapping[str, RunTimes], rng: random.Random
    ) -> None:
        self._workload = workload
        self._models = models
        self._rng = rng
        self._events: list[tuple[float, int, int | None, _Block, _Failures | None]] = []
        """Time, tie-breaker, worker, block, and how many jobs of each kind failed; without those the block is due."""
        self._number = 0
        self._ready: dict[str, list[tuple[tuple[float, float], int, _Block]]] = defaultdict(list)
        self._in_use: Counter[str] = Counter()
        self._dependents: dict[str, list[str]] = defaultdict(list)
        self._blocked: dict[str, tuple[_Block, set[str]]] = {}
        busy = {job.worker for job in workload.running}
        self._idle = [worker for worker in range(len(workload.workers)) if worker not in busy]
        for job in workload.running:
            self._in_use[job.queue] += 1
            factor = self._factor(job)
            rest, failed = self._rest(job, factor)
            kind = _Kind(job.work, job.attempts_left, (job.elapsed_s + rest) / factor, job.factor)
            block = _Block((0, 0), job.queue, [(kind, 1)], 0, job.selected, job.id)
            self._push(rest, job.worker, block, [(kind, 1)] if failed and job.attempts_left > 0 else [])
        unfinished = {job.id for job in workload.running} | {block.id for block in blocks}
        for block in blocks:
            if others := {name for name in block.after if name in unfinished}:
                self._blocked[block.id] = block, others
                for name in others:
                    self._dependents[name].append(block.id)
            elif block.due_s > 0:
                self._push(block.due_s, None, block, None)
            else:
                self._number += 1
                self._ready[block.queue].append((block.order, self._number, block))
        for each in self._ready.values():
            heapq.heapify(each)

    def run(self) -> float:
        """Return when the last of the selected jobs has finished."""
        end = 0.0
        self._start_all(0.0)
        while self._events:
            now, _, worker, block, failures = heapq.heappop(self._events)
            if failures is None:
                self._add(block)
            else:
                self._in_use[block.queue] -= 1
                if worker is not None:
                    self._idle.append(worker)
                for kind, count in failures:
                    self._retry(now, block, kind, count)
                if self._dependents and not failures:
                    self._unblock(now, block)
                if block.selected:
                    end = max(end, now)
            self._start_all(now)
        return end

    def _push(self, at: float, worker: int | None, block: _Block, failures: _Failures | None) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, worker, block, failures))

    def _add(self, block: _Block) -> None:
        self._number += 1
        heapq.heappush(self._ready[block.queue], (block.order, self._number, block))

    def _retry(self, now: float, block: _Block, kind: _Kind, count: int) -> None:
        """Let failed jobs run again after their backoff, on as many workers as there are."""
        policy = self._workload.policy
        due_s = now + policy.delay(max(1, policy.max_retries - kind.attempts_left))
        shares = min(count, len(self._workload.workers))
        for _ in range(shares):
            self._push(due_s, None, block._replace(jobs=[(kind, count / shares)]), None)

    def _unblock(self, now: float, block: _Block) -> None:
        for name in self._dependents.pop(block.id, ()):
            waiting, others = self._blocked[name]
            others.discard(block.id)
            if not others:
                self._push(max(now, waiting.due_s), None, waiting, None)

    def _start_all(self, now: float) -> None:
        """Give the best ready block to each idle worker."""
        if not self._idle or not any(self._ready.values()):
            return
        idle = []
        for worker in self._idle:
            queue = self._best_queue(self._workload.workers[worker])
            if queue is None:
                idle.append(worker)
                continue
            block = heapq.heappop(self._ready[queue])[2]
            self._in_use[queue] += 1
            seconds, failures = self._run_time(block)
            self._push(now + seconds, worker, block, failures)
        self._idle = idle

    def _best_queue(self, queues: frozenset[str]) -> str | None:
        limits = self._workload.limits
        best = None
        for name, ready in self._ready.items():
            if not ready or (queues and name not in queues) or self._in_use[name] >= limits.get(name, math.inf):
                continue
            if best is None or ready[0][0] < self._ready[best][0][0]:
                best = name
        return best

    def _run_time(self, block: _Block) -> tuple[float, _Failures]:
        """Return how long a block takes, and which of its jobs will run again."""
        total = mean = variance = 0.0
        failures = []
        for kind, count in block.jobs:
            if count < 1 and self._rng.random() > count:
                continue
            model, factor = self._models[kind.work], self._factor(kind)
            if count <= 1:
                seconds, fails = model.draw(self._rng, kind.before)
                total, failed = total + seconds * factor, int(fails)
            else:
                seconds, of_one, failing = model.describe(self._rng, kind.before)
                mean, variance = mean + seconds * count * factor, variance + of_one * count * factor**2
                failed = draw_failed(self._rng, count, failing)
            if failed and kind.attempts_left > 1:
                before = seconds if count <= 1 else model.failed_s if kind.before is None else kind.before
                left = min(kind.attempts_left, MAX_RETRIES) - 1
                failures.append((kind._replace(attempts_left=left, before=before), failed))
        if mean:
            total += max(mean / 4, self._rng.gauss(mean, math.sqrt(variance)))
        return total, failures

    def _factor(self, job: RunningJob | _Kind) -> float:
        """Return how much longer than others a job runs, in this repetition."""
        return 1.0 if job.factor == 1 else job.factor ** self._models[job.work].trend

    def _rest(self, job: RunningJob, factor: float) -> tuple[float, bool]:
        """Return how much longer a running job runs, and whether it fails."""
        if job.progress is not None and job.progress >= MIN_PROGRESS:
            rest = job.elapsed_s * (1 - job.progress) / job.progress
            return rest * math.exp(self._rng.gauss(0, PROGRESS_ERROR * (1 - job.progress))), False
        rest, failed = self._models[job.work].draw_rest(self._rng, job.elapsed_s / factor, job.before)
        rest *= factor
        if job.timeout_s is not None and rest > job.timeout_s - job.elapsed_s:
            return max(0.0, job.timeout_s - job.elapsed_s), True
        return rest, failed
