"""What the benchmarks share: rounds of both sides in turn, a row for the table, a queue to measure with."""

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
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "JobSpec",
    "Row",
    "Served",
    "Skipped",
    "build_c",
    "idle_queue",
    "in_turn",
    "main",
    "options",
    "percentile",
    "scratch",
    "served",
    "table",
    "until_completed",
    "versus",
]


LOOK = 0.002
"""Seconds between looks near the end."""


class Skipped(Exception):
    """The other side needs something that this machine lacks; the text says what."""


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, in words, and whether it reached its bar."""

    what: str
    figure: str
    bar: str
    reached: bool | None
    """None where nothing could be measured."""
    detail: str = ""


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for one round; ``TMPDIR`` chooses the disk."""
    return tempfile.TemporaryDirectory(prefix="queuectl-bench-")


def in_turn(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Run both sides ``rounds`` times, A B A B, so that a noisy minute hits both; return what each returned."""
    pairs = []
    for number in range(rounds):
        pairs.append((ours(), theirs()))
        print(f"  round {number + 1}: ours {pairs[-1][0]:.4g}, theirs {pairs[-1][1]:.4g}", file=sys.stderr)
    return [a for a, _ in pairs], [b for _, b in pairs]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, str]:
    """Return the median of the pairwise ratios, and it with its extremes in words."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    middle = statistics.median(each)
    return middle, f"{middle:.2f} (min {min(each):.2f}, max {max(each):.2f})"


def versus(  # noqa: PLR0913 - the row's facts
    what: str, unit: str, ours: Sequence[float], theirs: Sequence[float], bar: float, *, at_least: bool
) -> Row:
    """Make the row of a comparison: ``bar`` bounds the median ratio of ours to theirs, from below or above."""
    middle, words = ratios(ours, theirs)
    detail = f"ours {statistics.median(ours):.4g} {unit}, theirs {statistics.median(theirs):.4g} {unit}"
    reached = middle >= bar if at_least else middle <= bar
    return Row(what, words, f"{'≥' if at_least else '≤'} {bar:g}", reached, detail)


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
    """Give a queue of ``jobs`` that is paused, with ``workers`` registered, started and asleep."""
    with scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        queue.pause()
        queue.enqueue_specs([JobSpec(command) for _ in range(jobs)])
        with queue.start_workers(workers, on_event=lambda _: None) as pool:
            while sum(1 for each in queue.worker_list() if each["pid"] and each["state"] == "idle") < workers:
                time.sleep(0.01)
            time.sleep(1)  # the pids are on the list before the workers are awake
            try:
                yield queue
            finally:
                if pool.alive:
                    pool.stop(now=True)
        queue.close()


class Served(NamedTuple):
    """A web page that is served: the pid of its server, its port on loopback, and its token."""

    pid: int
    port: int
    token: str


@contextmanager
def served(path: Path) -> Iterator[Served]:
    """Serve the web page of the queue at ``path`` from a process of its own."""
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
    """Wait until ``jobs`` are recorded as completed; the looks are rare until the end is near, and cost nothing."""
    began = time.perf_counter()
    while (done := queue.store.reader.counts()[State.COMPLETED]) < jobs:
        spent = time.perf_counter() - began
        left = spent * (jobs - done) / done if done else LOOK
        time.sleep(min(max(left / 2, LOOK), 0.5))


def options(about: str | None, **sizes: int) -> argparse.ArgumentParser:
    """Make a parser with ``--check`` and a whole-number option for each of ``sizes``."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 when a figure misses its bar")
    for name, default in sizes.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=default, metavar="N", help=f"default {default}"
        )
    return parser


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    marks = {True: "yes", False: "NO", None: "not measured"}
    lines = ["| what | measured | must reach | reached | beside it |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {row.what} | {row.figure} | {row.bar} | {marks[row.reached]} | {row.detail} |" for row in rows]
    return "\n".join(lines)


def main(run: Callable[[argparse.Namespace], list[Row]], parser: argparse.ArgumentParser) -> int:
    """Run a benchmark from the command line; return its exit status."""
    args = parser.parse_args()
    rows = run(args)
    print(table(rows))
    return int(args.check and any(row.reached is False for row in rows))
