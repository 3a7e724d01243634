"""Chaos test: random SIGKILLs while jobs run. No job may be lost or overlap with an earlier attempt of itself.

Run it with other sizes::

    python tests/journeys/chaos.py --jobs 10000 --kills 1000 --seconds 3600 --seed 7

Every job takes a lock that all its processes inherit, including children in other sessions. An attempt that starts
while a process of an earlier attempt is running finds the lock taken and records that in a file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb import Queue, WaitTimeout
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from queuectl_nb.client.pool import WorkerPool

POOLS, WORKERS = 2, 2
NASTY = (
    "",
    "trap '' TERM; ",
    "(setsid sleep 0.4 &) ; ",
    "(setsid sh -c 'trap \"\" TERM; sleep 0.4' &) ; ",
    # identifiable only by the token in its environment
    "exec >/dev/null 2>&1; sleep 0.3; ",
    "(setsid sh -c 'exec >/dev/null 2>&1; sleep 0.4' &) ; exec >/dev/null 2>&1; ",
)


def command(folder: Path, number: int, rng: random.Random) -> str:
    """Return a command that records overlaps; some exit at once, some leave children, some ignore SIGTERM."""
    lock = shlex.quote(str(folder / f"{number}.lock"))
    seen = shlex.quote(str(folder / "overlaps"))
    done = shlex.quote(str(folder / f"{number}.done"))
    nasty = rng.choice(NASTY)
    nap = rng.choice([0, 0, 0.01, 0.05, 0.2])
    return (
        f"exec 9>>{lock}; flock -n 9 || echo {number} attempt $QUEUECTL_ATTEMPT >> {seen}; "
        f"{nasty}sleep {nap}; echo $QUEUECTL_ATTEMPT >> {done}"
    )


class Chaos:
    """One run: a queue, several pools and random kills."""

    def __init__(self, folder: Path, jobs: int, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)  # noqa: S311 - not for secrets
        self.queue = Queue(folder / "chaos.db")
        self.queue.set("max_retries", 1000)
        self.queue.set("backoff_max", 0)
        self.queue.set("kill_grace", 0.2)
        specs = [JobSpec(command(folder, number, self.rng), id=str(number)) for number in range(jobs)]
        self.queue.enqueue_specs(specs)
        self.pools: list[WorkerPool] = []
        self.killed: Counter[str] = Counter()

    def start_pools(self) -> None:
        """Start pools until there are :data:`POOLS`."""
        self.pools = [pool for pool in self.pools if pool.alive]
        while len(self.pools) < POOLS:
            self.pools.append(self.queue.start_workers(WORKERS, on_event=lambda _: None))

    def kill_something(self) -> None:
        """Kill a worker, a supervisor, or a supervisor with all its workers."""
        pool = self.rng.choice(self.pools)
        pids = {worker["name"]: worker["pid"] for worker in self.queue.worker_list()}
        workers = [pids[name] for name in pool.names if pids.get(name)]
        what = self.rng.choice(["worker", "worker", "pool", "both"])
        self.killed[what] += 1
        victims = {"worker": workers[:1], "pool": [pool.pid], "both": [pool.pid, *workers]}[what]
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if what != "worker":
            pool.wait(10)

    def run(self, kills: int, seconds: float) -> dict[str, Any]:
        """Kill ``kills`` times while there are unfinished jobs, wait for the rest, and return the findings."""
        deadline = time.monotonic() + seconds
        while sum(self.killed.values()) < kills and time.monotonic() < deadline:
            self.start_pools()
            self.kill_something()
            time.sleep(self.rng.uniform(0.02, 0.25))
            if not sum(n for state, n in self.queue.store.reader.counts().items() if state is not State.COMPLETED):
                break
        self.start_pools()
        try:
            self.queue.wait(timeout=max(30.0, deadline - time.monotonic()))
        except WaitTimeout:
            pass  # reported in the findings
        finally:
            for pool in self.pools:
                pool.stop(now=True)
        return self.findings()

    def findings(self) -> dict[str, Any]:
        """Return counts of violations and of attempts and kills."""
        overlaps = self.folder / "overlaps"
        attempts = self.queue.store.reader.attempt_rows("jobs.id, attempts.outcome, attempts.number")
        outcomes = Counter(outcome for _, outcome, _ in attempts)
        succeeded = Counter(job for job, outcome, _ in attempts if outcome == "succeeded")
        counts = self.queue.store.reader.counts()
        return {
            "jobs": sum(counts.values()),
            "unfinished": sum(counts.values()) - counts[State.COMPLETED],
            "overlaps": len(overlaps.read_text().splitlines()) if overlaps.exists() else 0,
            "succeeded_twice": sum(n > 1 for n in succeeded.values()),
            "not_executed": sum(
                not (self.folder / f"{number}.done").exists() for number in range(sum(counts.values()))
            ),
            "attempts": len(attempts),
            "outcomes": {str(key): n for key, n in outcomes.items()},
            "kills": dict(self.killed),
        }


VIOLATIONS = ("unfinished", "overlaps", "succeeded_twice", "not_executed")


def main() -> int:
    """Run with the sizes given on the command line; return 1 if there were violations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="empty folder for the queue, kept for inspection")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = Chaos(args.folder or Path(folder), args.jobs, args.seed).run(args.kills, args.seconds)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return int(any(found[key] for key in VIOLATIONS))


if __name__ == "__main__":
    sys.exit(main())
