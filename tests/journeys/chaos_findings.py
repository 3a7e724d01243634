"""What :mod:`tests.journeys.chaos` finds after a run."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil

from queuectl_nb import JobFailed
from queuectl_nb.store.blobs import STRAY_AGE_S, blob_dir, find_missing, remove_strays
from tests.journeys.chaos_functions import GIVES_UP
from tests.journeys.chaos_python_jobs import read_value

if TYPE_CHECKING:
    from tests.journeys.chaos import Chaos

__all__ = ["VIOLATIONS", "Findings"]

VIOLATIONS = (
    "lost",
    "overlapping",
    "orphans",
    "stuck",
    "locked",
    "failed",
    "succeeded_twice",
    "wrong_value",
    "payloads",
)
"""Findings that must be 0.

lost
    Acknowledged jobs that are not in the queue, not finished or did not run.
overlapping
    Attempts that started while a process of an earlier attempt was running.
orphans
    Processes that were left after all workers had been stopped.
stuck
    Jobs that stayed in the state processing.
locked
    Locks of a transaction that an idle process held.
failed
    Attempts that did not end by themselves and are not recorded as lost or returned.
succeeded_twice
    Jobs with two successful attempts.
wrong_value
    Python jobs whose value, exception, variable, output or executed notebook is not that of their recorded attempt.
payloads
    Python jobs without their payload, payloads without their job, and files that are missing or too many.
"""
EXIT_TIMEOUT_S = 5.0


class Findings:
    """Looks for violations once all workers have been stopped."""

    def __init__(self, chaos: Chaos) -> None:
        self.chaos = chaos
        self._marks = chaos.folder / "marks"
        # as another process sees it that has just opened the queue
        self._states: dict[str, str] = json.loads(chaos.start_enqueuer("states").communicate(timeout=60)[0])
        with chaos.queue.store.db.read() as connection:
            rows = connection.execute("SELECT id, tags FROM jobs WHERE kind != 'command'").fetchall()
        self._python_jobs = [job_id for job_id, _ in rows]
        self._giving_up = {job_id for job_id, tags in rows if GIVES_UP in tags}
        self._attempts = chaos.queue.store.reader.attempt_rows(
            "jobs.id, attempts.number, attempts.outcome, attempts.worker, attempts.signal, attempts.error"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return counts of violations, of attempts and of acts, and a line about each violation."""
        self._check_jobs()
        self._check_overlaps()
        self._check_processes()
        self._check_attempts()
        self._check_values()
        self._check_payloads()
        return {
            **{name: self.chaos.violations[name] for name in VIOLATIONS},
            "jobs": len(self._states),
            "attempts": len(self._attempts),
            "outcomes": dict(Counter(str(outcome) for _, _, outcome, *_ in self._attempts)),
            "acts": dict(self.chaos.performed),
            "notes": self.chaos.notes,
        }

    def _check_jobs(self) -> None:
        for job_id in sorted((self.chaos.folder / "acknowledged").read_text().split()):
            state = self._states.get(job_id)
            if state == "processing":
                self.chaos.report("stuck", f"job {job_id}")
            elif state != ("dead" if job_id in self._giving_up else "completed"):
                self.chaos.report("lost", f"job {job_id} is {state or 'not in the queue'}")
            elif not (self._marks / f"{job_id}.done").exists():
                self.chaos.report("lost", f"job {job_id} is {state}, but did not run")

    def _check_overlaps(self) -> None:
        overlaps = self._marks / "overlaps"
        for line in overlaps.read_text().splitlines() if overlaps.exists() else ():
            self.chaos.report("overlapping", f"job {line}")

    def _check_processes(self) -> None:
        deadline = time.monotonic() + EXIT_TIMEOUT_S
        while (found := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for line in found:
            self.chaos.report("orphans", line)

    def _processes(self) -> list[str]:
        """Return the pids and commands of all processes that have to do with the queue or its copies."""
        found, folder = [], f"{self.chaos.folder.parent}/"
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    places = [each.path for each in process.open_files()]
                    places += [*process.cmdline(), process.environ().get("QUEUECTL_DB", "")]
                    if any(folder in place for place in places):
                        found.append(f"{process.pid}: {' '.join(process.cmdline())}")
        return found

    def _check_attempts(self) -> None:
        succeeded = Counter(job_id for job_id, _, outcome, *_ in self._attempts if outcome == "succeeded")
        for job_id, count in succeeded.items():
            if count > 1:
                self.chaos.report("succeeded_twice", f"job {job_id}")
        for job_id, number, outcome, *reason in self._attempts:
            if outcome not in {"succeeded", "lost", "returned"} and not (
                outcome == "failed" and job_id in self._giving_up
            ):
                self.chaos.report("failed", f"attempt {number} of job {job_id}: {outcome} {reason}")

    def _check_values(self) -> None:
        for job_id in self._python_jobs:
            job = self.chaos.queue.job(job_id)
            if not job.done():
                continue  # is reported as lost or stuck
            last = job.history[-1]
            try:
                value = read_value(self.chaos.queue, job)
            except JobFailed as error:
                self.chaos.report("wrong_value", str(error))
                continue
            token = last.token.encode()
            foreign = b"".join(value[3:]).replace(token, b"")  # the rest is its beginning
            if value[:2] != (last.number, last.token) or not token.startswith(foreign):
                self.chaos.report("wrong_value", f"job {job_id}: {value[:2]}, not {last.number}, {last.token}")

    def _check_payloads(self) -> None:
        db = self.chaos.queue.store.db
        remove_strays(db, time.time() + 2 * STRAY_AGE_S)
        with db.read() as connection:
            (payloads,) = connection.execute("SELECT count(*) FROM payloads JOIN jobs ON seq = job").fetchone()
            (rows,) = connection.execute("SELECT count(*) FROM blobs WHERE body IS NULL").fetchone()
            (unused,) = connection.execute(
                "SELECT count(*) FROM blobs WHERE sha256 NOT IN (SELECT sha256 FROM job_blobs)"
            ).fetchone()
        files = len(os.listdir(blob_dir(db.output_dir)))
        found = (payloads, len(find_missing(db)), files, unused)
        if found != (len(self._python_jobs), 0, rows, 0):
            self.chaos.report("payloads", f"payloads, missing files, files, unused blobs: {found}; rows: {rows}")
