"""Shared by the benchmarks: alternating rounds, rows of the table, a queue to measure with."""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb import Queue
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import State
from queuectl_nb.store.claims import Claims, EndedAttempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "JobSpec",
    "Row",
    "Served",
    "Skipped",
    "alternate",
    "build_c",
    "compare",
    "end_jobs",
    "idle_queue",
    "main",
    "options",
    "percentile",
    "scratch",
    "served",
    "table",
    "until_completed",
    "until_ready",
]


POLL_INTERVAL_S = 0.002
"""Poll interval near the end."""
GROUP = 64
"""Attempts that :func:`end_jobs` settles in one transaction."""


class Skipped(Exception):
    """The reference cannot run on this machine; the text says why."""


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, the result, and whether it reached its target."""

    what: str
    result: str
    target: str
    reached: bool | None
    """None if nothing could be measured."""
    detail: str = ""


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder; ``TMPDIR`` selects the disk."""
    return tempfile.TemporaryDirectory(prefix="queuectl-bench-")


def alternate(
    rounds: int, measured: Callable[[], float], reference: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Run both in alternation, so that noise affects both; return the results of each."""
    pairs = []
    for number in range(rounds):
        pairs.append((measured(), reference()))
        print(f"  round {number + 1}: queuectl {pairs[-1][0]:.4g}, reference {pairs[-1][1]:.4g}", file=sys.stderr)
    return [a for a, _ in pairs], [b for _, b in pairs]


def ratios(measured: Sequence[float], reference: Sequence[float]) -> tuple[float, str]:
    """Return the median of the pairwise ratios, and a text with the extremes."""
    each = [a / b for a, b in zip(measured, reference, strict=True)]
    median = statistics.median(each)
    return median, f"{median:.2f} (min {min(each):.2f}, max {max(each):.2f})"


def compare(
    what: str, unit: str, measured: Sequence[float], reference: Sequence[float], target: float, *, at_least: bool
) -> Row:
    """Return the row of a comparison: ``target`` is the minimum or maximum of the median ratio."""
    median, words = ratios(measured, reference)
    detail = f"queuectl {statistics.median(measured):.4g} {unit}, reference {statistics.median(reference):.4g} {unit}"
    reached = median >= target if at_least else median <= target
    return Row(what, words, f"{'≥' if at_least else '≤'} {target:g}", reached, detail)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def build_c(folder: Path) -> Path:
    """Compile ``spawn_limit.c`` into ``folder``; raise :class:`Skipped` where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        msg = "no cc on this machine, so the C side cannot be built (Debian: apt install gcc libc6-dev)"
        raise Skipped(msg)
    program = folder / "spawn_limit"
    subprocess.run([compiler, "-O2", "-o", program, Path(__file__).with_name("spawn_limit.c")], check=True)
    return program


@contextmanager
def idle_queue(workers: int, jobs: int = 0, command: str = "true") -> Iterator[Queue]:
    """Yield a paused queue of ``jobs`` with ``workers`` idle workers."""
    with scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        queue.pause()
        enqueue_specs(queue, [JobSpec(command) for _ in range(jobs)])
        with queue.start_workers(workers) as pool:
            until_ready(queue, workers)
            time.sleep(1)
            try:
                yield queue
            finally:
                if pool.alive:
                    pool.stop(now=True)
        queue.close()


def end_jobs(queue: Queue, jobs: int, exit_code: int, write: Callable[[int], dict[str, str]]) -> Iterator[float]:
    """Enqueue jobs and settle an attempt of each without running it; yield the seconds of settling each group.

    ``write`` returns the output of the job of a number, as a field of :class:`Ending`.
    """
    enqueue_specs(queue, [JobSpec("true", max_retries=1)] * jobs)
    claims, settings, number = Claims(queue.store.db, "worker-1", "host", parallel=True), queue.settings, 0
    while leases := claims.settle_and_claim(limit=GROUP, settings=settings, now=time.time(), rand=0.0).leases:
        now, ended = time.time(), []
        for lease in leases:
            ending = Ending(now, now, 1, usage=Usage(0.0, 0.0, 0))
            for name, text in write(number).items():
                ending = ending._replace(**{name: text, f"{name}_size": len(text)})
            ended.append(EndedAttempt(lease, Exited(exit_code), ending))
            number += 1
        began = time.perf_counter()
        claims.settle_and_claim(ended=ended, settings=settings, now=now, rand=0.0)
        yield time.perf_counter() - began


def until_ready(queue: Queue, workers: int) -> None:
    """Wait until this many workers wait for work; each creates its FIFO right before that."""
    while sum(1 for _ in queue.store.worker_dir.glob("*.fifo")) < workers:
        time.sleep(0.01)


class Served(NamedTuple):
    """A running web server: its pid, its port on loopback, and its token."""

    pid: int
    port: int
    token: str


@contextmanager
def served(path: Path) -> Iterator[Served]:
    """Serve the web page of the queue at ``path`` in a separate process."""
    server = subprocess.Popen(
        [sys.executable, "-m", "queuectl_nb", "--db", str(path), "dashboard", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        found = re.search(r":(\d+)/\?token=(\S+)", server.stdout.readline())
        assert found
        yield Served(server.pid, int(found[1]), found[2])
    finally:
        server.terminate()
        server.wait(20)


def until_completed(queue: Queue, jobs: int) -> None:
    """Wait until ``jobs`` are completed, polling rarely until the end is near."""
    began = time.perf_counter()
    while (done := queue.store.reader.counts()[State.COMPLETED]) < jobs:
        spent = time.perf_counter() - began
        left = spent * (jobs - done) / done if done else POLL_INTERVAL_S
        time.sleep(min(max(left / 2, POLL_INTERVAL_S), 0.5))


def options(about: str | None, **sizes: int) -> argparse.ArgumentParser:
    """Return a parser with ``--check`` and an integer option for each of ``sizes``."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    for name, default in sizes.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=default, metavar="N", help=f"default {default}"
        )
    return parser


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    marks = {True: "yes", False: "NO", None: "not measured"}
    lines = ["| what | result | target | reached | details |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {row.what} | {row.result} | {row.target} | {marks[row.reached]} | {row.detail} |" for row in rows]
    return "\n".join(lines)


def main(run: Callable[[argparse.Namespace], list[Row]], parser: argparse.ArgumentParser) -> int:
    """Run a benchmark from the command line; return its exit status."""
    args = parser.parse_args()
    rows = run(args)
    print(table(rows))
    return int(args.check and any(row.reached is False for row in rows))
