"""Fixtures: a store with a fixed clock, and processes that start at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

import queuectl_nb
from queuectl_nb.model.attempt import Ending, Lease
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.outcome import Exited, Outcome
from queuectl_nb.store.boot_time import WALL_CLOCK_ONLY
from queuectl_nb.store.claims import ClaimResult, Claims, EndedAttempt
from queuectl_nb.store.insert import insert_jobs
from queuectl_nb.store.spool import Spool
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from queuectl_nb.model.lifecycle import Transition

settings.register_profile("queuectl", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("queuectl")

NOON = 1_800_000_000.0


class StoreHarness:
    """A store with a manual clock, and shortcuts for what users and workers do with it."""

    boottime = WALL_CLOCK_ONLY

    def __init__(self, store: Store) -> None:
        """Use ``store``; the clock starts at NOON."""
        self.store = store
        self.now = NOON

    def add(self, *ids: str, **fields: Any) -> list[str]:
        """Enqueue a job with these fields for each id, or one with a generated id."""
        return self.enqueue(*({"command": "true", **fields, "id": each} for each in ids or [None]))

    def enqueue(self, *jobs: dict[str, Any], if_absent: bool = False) -> list[str]:
        """Enqueue jobs in one transaction."""
        specs = [JobSpec.from_fields(fields) for fields in jobs]
        return insert_jobs(
            self.store.db,
            specs,
            cwd="/",
            recorded_env={"PATH": "/bin"},
            now=self.now,
            boottime=self.boottime,
            if_absent=if_absent,
        ).ids

    def claims(self, worker: str = "worker-1", queues: Sequence[str] = (), *, parallel: bool = False) -> Claims:
        """Return the access of a worker to the queue."""
        return Claims(self.store.db, worker, "here", queues, parallel=parallel)

    def settle_and_claim(
        self, worker: str = "worker-1", queues: Sequence[str] = (), *, parallel: bool = False, **what: Any
    ) -> ClaimResult:
        """Settle and claim as a worker does."""
        return self.claims(worker, queues, parallel=parallel).settle_and_claim(
            **what, settings=self.store.settings.read(), now=self.now, rand=0.0, boottime=self.boottime
        )

    def claim(self, limit: int = 1, worker: str = "worker-1", queues: Sequence[str] = ()) -> list[Lease]:
        """Claim as a worker does."""
        return self.settle_and_claim(worker, queues, limit=limit).leases

    def claim_job(self, job_id: str, worker: str = "worker-1") -> Lease:
        """Claim, expecting just this job."""
        (lease,) = self.claim(1, worker)
        assert lease.job_id == job_id
        return lease

    def settle(self, lease: Lease, outcome: Outcome | None = None, **facts: Any) -> Transition | None:
        """Settle an attempt, by default with exit code 0."""
        return self.settle_and_claim(ended=[self.ended(lease, outcome, **facts)]).settled[0]

    def ended(self, lease: Lease, outcome: Outcome | None = None, **facts: Any) -> EndedAttempt:
        """Return an ended attempt, by default with exit code 0."""
        facts = {"finished_at": self.now, "started_at": self.now, "pid": 42, **facts}
        return EndedAttempt(lease, outcome or Exited(0), Ending(**facts))

    def run(self, job_id: str, outcome: Outcome | None = None, **facts: Any) -> Transition | None:
        """Claim just this job and settle it."""
        return self.settle(self.claim_job(job_id), outcome, **facts)

    def prune(self, older_than: float, state: str | None = None) -> tuple[int, list[str]]:
        """Prune; return how many jobs were deleted, and the tokens of their attempts."""
        found = list(self.store.jobs.prune(older_than, self.now, state))
        return sum(number for number, _ in found), [token for _, tokens in found for token in tokens]

    def exhaust(self, job_id: str) -> None:
        """Fail a job until it is dead."""
        while self.state(job_id) != "dead":
            self.now += 4000
            self.run(job_id, Exited(1))

    def add_one_per_state(self) -> None:
        """Add a job in each state, with the state as its id; ``blocked`` waits for ``processing``."""
        self.add("dead", max_retries=1)
        self.run("dead", Exited(9))
        self.add("completed")
        self.run("completed", result="[1]")
        self.add("cancelled")
        self.store.jobs.cancel(["cancelled"], self.now)
        self.add("failed")
        self.run("failed", Exited(1))
        self.add("processing", priority=5)
        self.claim_job("processing")
        self.add("blocked", after=["processing"])
        self.add("pending", delay=60)
        assert all(job_id == state for job_id, state in self.states().items())

    def state(self, job_id: str) -> str:
        """Return a job's state."""
        return str(self.store.jobs.get(job_id).state)

    def states(self) -> dict[str, str]:
        """Return the state of every job by id, in enqueue order."""
        return dict(self.query("SELECT id, state FROM jobs ORDER BY seq"))

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.store.db.read() as connection:
            return connection.execute(sql, values).fetchall()

    def row(self, job_id: str) -> dict[str, Any]:
        """Return the stored row of a job."""
        with self.store.db.read() as connection:
            found = connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,))
            return dict(zip([column[0] for column in found.description], found.fetchone(), strict=True))

    def dump(self) -> list[str]:
        """Return the content of the database except the revision."""
        with self.store.db.read() as connection:
            return [line for line in connection.iterdump() if 'INTO "clock"' not in line]

    def check_invariants(self) -> None:
        """Assert the invariants of the database."""
        assert self.query("PRAGMA integrity_check") == [("ok",)]
        assert self.query("PRAGMA foreign_key_check") == []
        counted = self.query("SELECT queue, state, count(*) FROM jobs GROUP BY 1, 2 ORDER BY 1, 2")
        assert self.query("SELECT * FROM tally WHERE n > 0 ORDER BY 1, 2") == counted
        held = "SELECT seq, starts, token FROM jobs WHERE state = 'processing' ORDER BY 1"
        assert self.query(held) == self.query(
            "SELECT job, number, token FROM attempts WHERE outcome IS NULL ORDER BY 1"
        )


@pytest.fixture
def store(queue_path: Path) -> Iterator[Store]:
    """Return a fresh store."""
    found = Store(queue_path)
    yield found
    found.db.close()


@pytest.fixture
def harness(queue_path: Path) -> Iterator[StoreHarness]:
    """Return a harness over a fresh store; the invariants of the database are checked at the end."""
    found = StoreHarness(Store(queue_path))
    found.store.db.connection().execute("PRAGMA synchronous = OFF")  # no test here simulates a power failure
    yield found
    found.check_invariants()
    found.store.db.close()


class ProcessGroup:
    """Python processes that start at the same time."""

    def __init__(self) -> None:
        """Start without processes."""
        self.processes: list[subprocess.Popen[str]] = []

    def add(self, script: str, *words: object) -> subprocess.Popen[str]:
        """Add a process that runs what is above the line ``# go`` at once, and the rest in :meth:`start_all`."""
        imports, _, rest = script.partition("# go\n")
        code = f"import sys, time\n{imports}\nprint('ready', flush=True)\nsys.stdin.readline()\n{rest}"
        root = str(Path(queuectl_nb.__file__).parents[1])
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        self.processes.append(process)
        return process

    def start_all(self) -> list[str]:
        """Start all processes, wait for them, and return what each printed; none may fail."""
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        found = [process.communicate(timeout=110)[0] for process in self.processes]
        assert [process.returncode for process in self.processes] == [0] * len(self.processes)
        return found


@pytest.fixture
def processes() -> Iterator[ProcessGroup]:
    """Return a group of processes to start together; none outlives the test."""
    found = ProcessGroup()
    yield found
    for process in found.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """Return an empty spool."""
    return Spool(tmp_path)


@pytest.fixture
def pass_a_tick(tmp_path: Path) -> Callable[[Path], None]:
    """Return a function that waits until the kernel gives files a later time than that of a folder."""
    probe = tmp_path / "probe"

    def wait(folder: Path) -> None:
        probe.touch()
        while probe.stat().st_ctime_ns <= folder.stat().st_ctime_ns:
            probe.touch()

    return wait


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


@pytest.fixture
def umask() -> Callable[[int], Any]:
    """Return a context manager that sets a umask."""
    return _umask
