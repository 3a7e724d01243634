"""Jobs that send stop signals to workers or supervisors: the job's own failure, not a stop."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.outcome import SENDER_ENDED, SUPERVISOR_DIED, Returned
from queuectl_nb.model.state import State
from tests.engine.harness import until

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.client import Job
    from queuectl_nb.client.pool import WorkerPool
    from tests.engine.harness import WorkerHarness

SUPERVISOR = "$(cut -d ' ' -f 4 /proc/$PPID/stat)"
"""The pid of the supervisor, in a command of a job."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs sigtimedwait")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("kill $PPID; sleep 60", "SIGTERM"),
        ("sleep 0.2; kill -INT $PPID; sleep 60", "SIGINT"),
        ('worker=$PPID; setsid sh -c "kill $worker; sleep 60"', "SIGTERM"),
    ],
)
def test_job_that_signals_its_worker_fails(harness: WorkerHarness, command: str, name: str) -> None:
    """Each start counts as a failed attempt, and the worker goes on."""
    harness.queue.set("backoff_max", 0)
    job = harness.add(command, max_retries=2)
    harness.start()
    worker = harness.worker_pid()
    job.wait(timeout=60)
    assert (job.state, harness.outcomes(job)) == (State.DEAD, ["failed", "failed"])
    assert job.error == f"killed because it sent {name} to its worker"
    assert harness.add("true").wait(timeout=60).state is State.COMPLETED
    assert harness.worker_pid() == worker


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("kill {supervisor}; sleep 60", "SIGTERM"),
        ("sleep 0.2; kill -INT {supervisor}; sleep 60", "SIGINT"),
        ("kill -HUP {supervisor}; sleep 60", "SIGHUP"),
        ('supervisor={supervisor}; setsid sh -c "kill $supervisor; sleep 60"', "SIGTERM"),
    ],
)
def test_job_that_signals_its_supervisor_fails(harness: WorkerHarness, command: str, name: str) -> None:
    """Each start counts as a failed attempt, the pool goes on, and jobs of other workers are not affected."""
    harness.queue.set("backoff_max", 0)
    job = harness.add(command.format(supervisor=SUPERVISOR), max_retries=2)
    other = harness.add("sleep 600", timeout=0)
    pool = harness.start(2)
    pids = {harness.worker_pid(name) for name in ("worker-1", "worker-2")}
    job.wait(timeout=30)
    assert (job.state, harness.outcomes(job)) == (State.DEAD, ["failed", "failed"])
    assert job.error == f"killed because it sent {name} to its supervisor"
    assert other.refresh().state is State.PROCESSING
    assert pool.alive
    assert {harness.worker_pid(name) for name in ("worker-1", "worker-2")} == pids


def wait_for_end(pool: WorkerPool, job: Job, state: State) -> None:
    """Wait until the supervisor has died and its worker has settled the job."""
    until(lambda: not pool.alive and job.refresh().state is state)


def test_job_that_kills_its_supervisor_ends_dead(harness: WorkerHarness) -> None:
    """The first time does not count, since anybody may have killed the supervisor; all others do."""
    job = harness.add(f"kill -9 {SUPERVISOR}; sleep 60", max_retries=2)
    harness.queue.set("backoff_max", 0)
    for state, attempts in [(State.PENDING, 0), (State.FAILED, 1), (State.DEAD, 2)]:
        harness.queue.pause()  # the pool must have started before the job kills its supervisor
        pool = harness.start()
        harness.queue.resume()
        wait_for_end(pool, job, state)
        assert job.attempts == attempts
    assert harness.outcomes(job) == ["returned", "lost", "lost"]
    assert job.error == "lost: worker-1 stopped because its supervisor died, as in an earlier attempt"


def test_first_death_of_a_supervisor_does_not_count_after_a_stop(harness: WorkerHarness, tmp_path: Path) -> None:
    """Attempts that an orderly stop has returned are not taken for those of a supervisor that has died."""
    job = harness.add(f"echo >> {tmp_path / 'started'}; sleep 60", max_retries=1)
    pool = harness.start()
    until((tmp_path / "started").exists)
    pool.stop(now=True)
    assert harness.outcomes(job) == ["returned"]
    (tmp_path / "started").unlink()
    pool = harness.start()
    until((tmp_path / "started").exists)
    os.kill(pool.pid, signal.SIGKILL)
    wait_for_end(pool, job, State.PENDING)
    assert [attempt.error for attempt in job.history] == [Returned().error, SUPERVISOR_DIED.error]
    assert job.attempts == 0


def test_job_that_signals_its_supervisor_and_exits(harness: WorkerHarness) -> None:
    """A job that has already exited when its signal is handled does not stop the pool either."""
    pool = harness.start()
    worker = harness.worker_pid()
    for _ in range(5):
        job = harness.add(f"kill {SUPERVISOR}", max_retries=1)
        assert job.wait(timeout=30).state in (State.DEAD, State.COMPLETED)
        assert len(job.history) == 1
        # before the next job starts: the supervisor knows the last one of each worker
        until(lambda: harness.events("warning"))
        harness.event_log.clear()
    assert pool.alive
    assert harness.worker_pid() == worker


def test_job_that_signals_its_worker_and_exits(harness: WorkerHarness) -> None:
    """A job that has already exited when its signal is handled does not stop the worker either."""
    harness.start()
    worker = harness.worker_pid()
    jobs = [harness.add("kill $PPID", max_retries=1) for _ in range(10)]
    for job in jobs:
        assert job.wait(timeout=60).state in (State.DEAD, State.COMPLETED)
        assert len(job.history) == 1
    assert harness.worker_pid() == worker


def blocks_sigterm(pid: int) -> bool:
    """Return True once a worker has started far enough to handle SIGTERM."""
    with open(f"/proc/{pid}/status") as status:
        mask = next(line.split()[1] for line in status if line.startswith("SigBlk:"))
    return bool(int(mask, 16) & 1 << (signal.SIGTERM - 1))


def test_job_that_signals_another_worker(harness: WorkerHarness, tmp_path: Path) -> None:
    """The other worker ignores the signal, with a warning."""
    go = tmp_path / "go"
    harness.start(2)
    pids = {harness.worker_pid(name) for name in ("worker-1", "worker-2")}
    until(lambda: all(map(blocks_sigterm, pids)))
    others = " ".join(str(pid) for pid in pids)
    job = harness.add(
        f"for pid in {others}; do [ $pid = $PPID ] || kill $pid; done; until [ -e {go} ]; do sleep 0.05; done"
    )
    until(lambda: [each for each in harness.events("warning") if "of a job of another worker" in each["text"]])
    go.touch()
    assert job.wait(timeout=60).state is State.COMPLETED
    assert {harness.worker_pid(name) for name in ("worker-1", "worker-2")} == pids


def test_job_that_signals_another_worker_and_exits(harness: WorkerHarness) -> None:
    """A job that has already exited when its signal is handled does not stop the other worker either."""
    harness.start(2)
    pids = [harness.worker_pid(name) for name in ("worker-1", "worker-2")]
    until(lambda: all(map(blocks_sigterm, pids)))
    frozen = harness.freeze("worker-1")  # until the job has ended
    assert harness.add(f"exec kill {frozen}").wait(timeout=60).state is State.COMPLETED
    os.kill(frozen, signal.SIGCONT)
    until(lambda: [each for each in harness.events("warning") if "of a job of another worker" in each["text"]])
    assert [harness.worker_pid(name) for name in ("worker-1", "worker-2")] == pids


class SignalProgram:
    """A job that lets a program of its own send a signal, which the frozen target handles after the program's end."""

    def __init__(self, harness: WorkerHarness, folder: Path, target: str) -> None:
        self.harness = harness
        self.started, self.go, self.sent = folder / "started", folder / "go", folder / "sent"
        self.job = harness.add(
            f"echo >> {self.started}; until rm {self.go}; do sleep 0.05; done; "
            f"/bin/kill {target}; touch {self.sent}; exec sleep 60",
            max_retries=2,
            timeout=0,
        )

    def send(self, frozen: int, attempts: int) -> None:
        """Let the ``frozen`` process handle the signal, and wait until that many attempts have been settled."""
        self.go.touch()
        until(self.sent.exists)
        self.sent.unlink()
        os.kill(frozen, signal.SIGCONT)
        until(lambda: sum(each is not None for each in self.harness.outcomes(self.job.refresh())) == attempts)

    def wait_for_start(self, number: int) -> None:
        """Wait until the job has been started ``number`` times."""
        until(lambda: self.started.exists() and self.started.read_text().count("\n") == number)


def test_program_that_signals_the_worker_and_ends(harness: WorkerHarness, tmp_path: Path) -> None:
    """Nobody can tell that a job has started it: the first time does not count, and the worker is replaced."""
    harness.queue.set("backoff_max", 0)
    program = SignalProgram(harness, tmp_path, "$PPID")
    pool = harness.start()
    for attempt in (1, 2, 3):
        program.wait_for_start(attempt)
        program.send(harness.freeze(), attempt)
    assert program.job.refresh().state is State.DEAD
    assert harness.outcomes(program.job) == ["returned", "lost", "lost"]
    assert program.job.history[0].error == SENDER_ENDED.error
    assert program.job.error == f"lost: worker-1 stopped because {SENDER_ENDED.why}, as in an earlier attempt"
    assert harness.add("true").wait(timeout=60).state is State.COMPLETED
    assert pool.alive


def test_program_that_signals_the_supervisor_and_ends(harness: WorkerHarness, tmp_path: Path) -> None:
    """It stops the pool, as the program of a person would; the first time does not count."""
    harness.queue.set("backoff_max", 0)
    program = SignalProgram(harness, tmp_path, SUPERVISOR)
    for attempt in (1, 2, 3):
        pool = harness.start()
        program.wait_for_start(attempt)
        program.send(harness.freeze_process(pool.pid), attempt)
        assert pool.wait(60) == 0
    assert program.job.refresh().state is State.DEAD
    assert harness.outcomes(program.job) == ["returned", "lost", "lost"]


def test_program_that_signals_the_supervisor_and_ends_with_its_job(harness: WorkerHarness, tmp_path: Path) -> None:
    """It stops the pool, once for each attempt, which has counted; other running jobs are returned."""
    started, go = tmp_path / "started", tmp_path / "go"
    other = harness.add(f"touch {started}; exec sleep 600", timeout=0)
    job = harness.add(f"until [ -e {go} ]; do sleep 0.05; done; /bin/kill {SUPERVISOR}; exit 1", max_retries=1)
    pool = harness.start(2)
    until(started.exists)
    frozen = harness.freeze_process(pool.pid)
    go.touch()
    assert job.wait(timeout=60).state is State.DEAD
    os.kill(frozen, signal.SIGCONT)
    assert pool.wait(60) == 0
    assert harness.outcomes(job.refresh()) == ["failed"]
    assert (other.refresh().state, other.attempts, harness.outcomes(other)) == (State.PENDING, 0, ["returned"])


def test_signal_from_outside_stops_the_worker(harness: WorkerHarness, tmp_path: Path) -> None:
    """A person's SIGTERM returns the running job at no cost."""
    started = tmp_path / "started"
    job = harness.add(f"touch {started}; sleep 60")
    pool = harness.start()
    until(started.exists)
    os.kill(harness.worker_pid(), signal.SIGTERM)
    assert pool.wait(60) == 0
    assert (job.refresh().state, harness.outcomes(job)) == (State.PENDING, ["returned"])
