"""Kill -9 at random while jobs run: no job may be lost, none run beside an older copy of itself.

Run it with sizes of your own::

    python tests/journeys/chaos.py --jobs 10000 --kills 1000 --seconds 3600 --seed 7

Every job takes a lock that all of its processes inherit, a child in a session of its own included. An attempt that
starts while any process of an older one lives finds the lock taken, and says so in a file.
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
    # holds nothing of ours but the token in its environment
    "exec >/dev/null 2>&1; sleep 0.3; ",
    "(setsid sh -c 'exec >/dev/null 2>&1; sleep 0.4' &) ; exec >/dev/null 2>&1; ",
)


def command(folder: Path, number: int, rng: random.Random) -> str:
    """Return a job that tells of overlaps: some end at once, some leave children, some ignore TERM."""
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
    """One run: a queue, a few pools, and a hand that kills."""

    def __init__(self, folder: Path, jobs: int, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)  # noqa: S311 - chance, not secrets
        self.queue = Queue(folder / "chaos.db")
        self.queue.set("max_retries", 1000)
        self.queue.set("backoff_max", 0)
        self.queue.set("kill_grace", 0.2)
        specs = [JobSpec(command(folder, number, self.rng), id=str(number)) for number in range(jobs)]
        self.queue.enqueue_specs(specs)
        self.pools: list[WorkerPool] = []
        self.killed: Counter[str] = Counter()

    def tend(self) -> None:
        """Keep the number of pools up."""
        self.pools = [pool for pool in self.pools if pool.alive]
        while len(self.pools) < POOLS:
            self.pools.append(self.queue.start_workers(WORKERS, on_event=lambda _: None))

    def strike(self) -> None:
        """Kill a worker, a pool, or a pool with all of its workers."""
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
        """Kill ``kills`` times while there is work, then wait for the rest; return what was seen."""
        deadline = time.monotonic() + seconds
        while sum(self.killed.values()) < kills and time.monotonic() < deadline:
            self.tend()
            self.strike()
            time.sleep(self.rng.uniform(0.02, 0.25))
            if not sum(n for state, n in self.queue.store.reader.counts().items() if state is not State.COMPLETED):
                break
        self.tend()
        try:
            self.queue.wait(timeout=max(30.0, deadline - time.monotonic()))
        except WaitTimeout:
            pass  # the findings name what is unfinished
        finally:
            for pool in self.pools:
                pool.stop(now=True)
        return self.findings()

    def findings(self) -> dict[str, Any]:
        """Return counts of everything that must not be, and of what happened."""
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
            "without_trace": sum(
                not (self.folder / f"{number}.done").exists() for number in range(sum(counts.values()))
            ),
            "attempts": len(attempts),
            "outcomes": {str(key): n for key, n in outcomes.items()},
            "kills": dict(self.killed),
        }


BROKEN = ("unfinished", "overlaps", "succeeded_twice", "without_trace")


def main() -> int:
    """Run with the sizes of the command line; exit 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="an empty folder to keep the queue in, for a look afterwards")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = Chaos(args.folder or Path(folder), args.jobs, args.seed).run(args.kills, args.seconds)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return int(any(found[key] for key in BROKEN))


if __name__ == "__main__":
    sys.exit(main())
