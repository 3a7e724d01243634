"""Chaos test: kills, freezes, forks, copies, containers and interrupts while jobs run.

Run it with other sizes::

    python tests/journeys/chaos.py --jobs 10000 --kills 1000 --seconds 3600 --seed 7

Every job takes a lock that all its processes inherit, including children in other sessions. An attempt that starts
while a process of an earlier attempt is running finds the lock taken and records that. All commands exit with code 0,
so an attempt that failed was ended by somebody who had no right to. Every fourth job calls a function, some run a cell
or a notebook; the value or exception must be that of the recorded attempt. ``chaos_findings.py`` lists what must not
happen.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb import Queue, QueuectlError, WaitTimeout
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.model.call import Kind
from queuectl_nb.model.job import JobSpec
from tests.journeys.chaos_acts import Container, Freeze, Kill
from tests.journeys.chaos_enqueuer import enqueue, job_command
from tests.journeys.chaos_enqueuer_acts import Fork, Interrupt
from tests.journeys.chaos_file_acts import CopyFolder, ReadFiles, Vacuum
from tests.journeys.chaos_findings import VIOLATIONS, Findings
from tests.journeys.chaos_python_jobs import PythonJobs, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.client.pool import WorkerPool
    from tests.journeys.chaos_acts import Act

POOLS, WORKERS = 2, 2
LEASE_S = 2.0
"""Longer than any job, so that a job that nobody can see or end (in a container) is over when its lease is."""
OTHER_ACTS: tuple[type[Act], ...] = (Freeze, Container, Fork, Interrupt, ReadFiles, CopyFolder, Vacuum)

KILLS_PER_ACT = 2
"""Kills for each other act."""
ENQUEUER = Path(__file__).with_name("chaos_enqueuer.py")
JOB = """\
# usage: job.sh NUMBER KIND SECONDS
cd "${QUEUECTL_DB%/*}/marks" || exit 1
exec 9>>"$1.lock"
flock -n 9 || echo "$1 attempt $QUEUECTL_ATTEMPT" >>overlaps
case $2 in
plain) ;;
ignores_term) trap '' TERM ;;
daemon) (setsid sleep 0.4 &) ;;
stubborn_daemon) (setsid sh -c 'trap "" TERM; sleep 0.4' &) ;;
quiet) exec >/dev/null 2>&1; sleep 0.3 ;;
quiet_daemon) (setsid sh -c 'exec >/dev/null 2>&1; sleep 0.4' &) ; exec >/dev/null 2>&1 ;;
empty_environment)
    exec env -i PATH="$PATH" sh -c "sleep 0.4; sleep $3; echo $QUEUECTL_ATTEMPT >>$1.done" >/dev/null 2>&1 ;;
esac
sleep "$3"
echo "$QUEUECTL_ATTEMPT" >>"$1.done"
"""
KINDS = (
    "plain",
    "ignores_term",
    "daemon",
    "stubborn_daemon",
    "quiet",  # identifiable only by the token in its environment
    "quiet_daemon",
    "empty_environment",  # identifiable only by its session
)


SECONDS = (0, 0, 0.01, 0.05, 0.2, 1)
"""How long jobs run."""


class Chaos:
    """One run: a queue, several pools, and acts that disturb them."""

    def __init__(self, folder: Path, jobs: int, seed: int, acts: Sequence[type[Act]] = OTHER_ACTS) -> None:
        self.folder = folder / "queue"
        (self.folder / "marks").mkdir(parents=True)
        (self.folder / "job.sh").write_text(JOB)
        self.path = self.folder / "chaos.db"
        self.rng = random.Random(seed)
        self.queue = Queue(self.path)
        self.queue.set("max_retries", 1000)
        self.queue.set("backoff_max", 0)
        self.queue.set("kill_grace", 0.2)
        self.queue.set("lease", LEASE_S)
        self._python_jobs = PythonJobs(self.queue, self.rng, self.folder)
        enqueue_specs(self.queue, [self._job(number) for number in range(jobs)])
        (self.folder / "acknowledged").write_text("".join(f"{number}\n" for number in range(jobs)))
        self.pools: list[WorkerPool] = []
        self.performed: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.notes: list[str] = []
        self.kill = Kill(self)
        self.others: list[Act] = [act(self) for act in acts if act.is_possible()]
        self._deck: list[Act] = []

    def _job(self, number: int) -> JobSpec:
        seconds = self.rng.choice(SECONDS)
        if kind_of(number) == Kind.COMMAND:
            return JobSpec(job_command(str(number), self.rng.choice(KINDS), seconds), id=str(number))
        return self._python_jobs.spec(number, seconds)

    # ------------------------------------------------------------------ for the acts

    def start_pools(self) -> None:
        """Start pools until there are :data:`POOLS`."""
        self.pools = [pool for pool in self.pools if pool.alive]
        while len(self.pools) < POOLS:
            self.pools.append(self.queue.start_workers(WORKERS, on_event=self._log_event))

    def _log_event(self, event: dict[str, Any]) -> None:
        """Keep the output of workers, to find the cause of a violation."""
        with open(self.folder / "events.jsonl", "a") as log:
            log.write(json.dumps({"time": time.time(), **event}) + "\n")

    def report(self, violation: str, note: str) -> None:
        """Count a violation."""
        self.violations[violation] += 1
        self.notes.append(f"{violation}: {note}")

    def enqueue(self, job_id: str) -> None:
        """Enqueue a short job from this process."""
        enqueue(self.queue, job_id)

    def start_enqueuer(self, mode: str, prefix: str = "", **options: Any) -> subprocess.Popen[str]:
        """Start a process of ``chaos_enqueuer.py``."""
        arguments = [sys.executable, str(ENQUEUER), mode, str(self.path), prefix]
        env = {**os.environ, "PYTHONPATH": str(ENQUEUER.parents[2])}
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=self.folder, env=env, **options)

    # ------------------------------------------------------------------ the run

    def run(self, kills: int, seconds: float) -> dict[str, Any]:
        """Perform acts, ``kills`` of them SIGKILLs, while there are unfinished jobs; return the findings."""
        deadline = time.monotonic() + seconds
        try:
            while self.performed[self.kill.name] < kills and time.monotonic() < deadline:
                self.start_pools()
                self._perform_one()
                time.sleep(self.rng.uniform(0.02, 0.25))
            for act in self.others:
                act.finish()
            self.start_pools()
            with contextlib.suppress(WaitTimeout):  # reported in the findings
                self.queue.wait(timeout=max(120.0, deadline - time.monotonic()))
        finally:
            self._stop()
        return Findings(self).as_dict()

    def _perform_one(self) -> None:
        if not self._deck:
            self._deck = [*self.others, *[self.kill] * (len(self.others) * KILLS_PER_ACT or 1)]
            self.rng.shuffle(self._deck)
        act = self._deck.pop()
        act.perform()
        self.performed[act.name] += 1
        self._log_event({"event": act.name})

    def _stop(self) -> None:
        for pool in self.pools:
            with contextlib.suppress(QueuectlError):
                pool.stop(now=True, timeout=30)
        for act in self.others:
            act.close()


def main() -> int:
    """Run with the sizes given on the command line; return 1 if there were violations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--act", action="append", choices=[act.name for act in OTHER_ACTS], help="repeatable; default: all"
    )
    parser.add_argument("--folder", type=Path, help="empty folder for the queue, kept for inspection")
    args = parser.parse_args()
    acts = [act for act in OTHER_ACTS if not args.act or act.name in args.act]
    folder = args.folder or Path(tempfile.mkdtemp())
    try:
        found = Chaos(folder, args.jobs, args.seed, acts).run(args.kills, args.seconds)
    finally:
        if args.folder is None:
            shutil.rmtree(folder)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return int(any(found[key] for key in VIOLATIONS))


if __name__ == "__main__":
    sys.exit(main())
