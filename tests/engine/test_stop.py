"""A stop ends, however it is requested: after a request to stop now, within the kill grace and 5 seconds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from queuectl_nb.client import Queue, workers
from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.notifier import worker_fifo
from queuectl_nb.engine.outcome_journal import RESERVED_BYTES, OutcomeJournal, journal_path, read_journal
from queuectl_nb.engine.worker_process import LEAVE_MARGIN_S
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import State
from tests.engine.harness import WorkerHarness, alive, fill_disk, job_processes, read_pid, until, within
from tests.engine.test_supervisor import start_in_another_process
from tests.journeys.terminals import CONSOLE, Terminal, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from queuectl_nb.client import Job
    from tests.conftest import Ran
    from tests.journeys.terminals import Terminals

LIMIT_S = 5.3
"""The kill grace of these tests, and 5 seconds."""


class FullDisk:
    """A queue on a disk that is full when its job ends."""

    def __init__(self, disk: Path, template: Path, other: Path) -> None:
        shutil.copyfile(template, disk / "queue.db")
        (disk / "queue.db").chmod(0o600)
        self.harness = WorkerHarness(Queue(disk / "queue.db"))
        self.harness.queue.set("kill_grace", "0.3")
        self.reader = sqlite3.connect(self.harness.path, isolation_level=None)
        self.ballast = disk / "ballast"
        self.pid_file, self.go = other / "pid", other / "go"
        self.job = self.harness.add(f"echo $$ > {self.pid_file}; until [ -e {self.go} ]; do sleep 0.02; done")

    def end_job(self) -> None:
        """Fill the disk, then let the job end and wait until its outcome is in the journal."""
        read_pid(self.pid_file)
        until(lambda: self.job.history[0].pid)
        # a snapshot that is in use keeps SQLite from writing into the beginning of its log, which needs no space
        self.reader.execute("BEGIN")
        self.reader.execute("SELECT * FROM jobs").fetchall()
        fill_disk(self.ballast)
        writer = sqlite3.connect(self.harness.path, isolation_level=None, timeout=30)
        try:
            with contextlib.suppress(sqlite3.OperationalError):  # full: the log has no room either
                while True:
                    writer.execute("UPDATE clock SET rev = rev + 1")
        finally:
            writer.close()
        self.go.touch()
        until(self.read_journals)

    def read_journals(self) -> list[str]:
        """Return the tokens of the attempts whose outcomes are in a worker's journal."""
        directory = self.harness.queue.store.worker_dir
        return [token for path in directory.glob("*.outcomes") for token in read_journal(directory, path.stem)]

    def make_room(self) -> None:
        """Let the database be written again."""
        self.reader.close()
        self.ballast.unlink(missing_ok=True)

    def check_afterwards(self) -> None:
        """Check that the job's success is recorded once there is room, as its only attempt."""
        self.make_room()
        self.harness.start()
        assert self.job.wait(timeout=60).state is State.COMPLETED
        assert self.harness.outcomes(self.job) == ["succeeded"]


@pytest.fixture
def full_disk(small_disk: Path, template_path: Path, tmp_path: Path) -> Iterator[FullDisk]:
    """Return a queue whose disk can be filled."""
    full_disk = FullDisk(small_disk, template_path, tmp_path)
    yield full_disk
    full_disk.make_room()
    full_disk.harness.close()
    full_disk.harness.queue.close()


def test_stop_waits_for_the_supervisor(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """``worker stop`` returns when the supervisor has ended, not when it has unregistered its last worker."""
    store, slept = queue.store, list[None]()
    lock = heartbeat.lock_path(store.worker_dir, "worker-1")
    script = f"import fcntl; f = open({str(lock)!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        store.workers.register(
            lambda _: True, count=1, pool=supervisor.pid, host=heartbeat.host_name(), queues=[], now=0.0
        )

        def proceed(_: float) -> None:
            """Do the next step of a supervisor that stops."""
            slept.append(None)
            if len(slept) == 1:
                store.workers.remove("worker-1", lambda _: None)
            else:
                supervisor.kill()

        monkeypatch.setattr("queuectl_nb.client.workers.time.sleep", proceed)
        assert queue.stop_workers() == ["worker-1"]
        assert supervisor.poll() is not None


STOPS: dict[str, Callable[[WorkerHarness], object]] = {
    "pool.stop": lambda harness: harness.pools[0].stop(now=True),
    "worker stop": lambda harness: harness.queue.stop_workers(now=True),
    "SIGTERM": lambda harness: os.kill(harness.pools[0].pid, signal.SIGTERM),
}


@pytest.mark.parametrize("how", STOPS)
def test_stop_on_a_full_disk(full_disk: FullDisk, how: str) -> None:
    """The workers end, say where the results are, and the next workers record them."""
    pool = full_disk.harness.start()
    full_disk.end_job()
    with within(LIMIT_S):
        STOPS[how](full_disk.harness)
        pool.wait(60)
    assert full_disk.job.state is State.PROCESSING
    assert full_disk.read_journals()
    until(lambda: [each for each in full_disk.harness.events("warning") if "; the next workers" in each["text"]])
    full_disk.check_afterwards()


def test_starter_ends_on_a_full_disk(full_disk: FullDisk) -> None:
    """The pool of a killed starter ends, and the next workers record the results."""
    starter, pool = start_in_another_process(full_disk.harness, "with")
    full_disk.end_job()
    with within(LIMIT_S, pool):
        starter.kill()
        starter.wait(60)
        until(lambda: not alive(pool))
    full_disk.check_afterwards()


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_console_ends_on_a_full_disk(full_disk: FullDisk, numbers: list[int]) -> None:
    """``worker start`` ends on SIGTERM and on the second Ctrl+C, and says that results are not recorded."""
    terminal = Terminal(("worker", "start"), full_disk.harness.path)
    try:
        full_disk.end_job()
        with within(LIMIT_S):
            for number in numbers:
                os.kill(terminal.process.pid, number)
                if number == signal.SIGINT:
                    terminal.wait_for_line("stopping")
            terminal.wait()
        terminal.wait_for_line("queuectl: ", "; the next workers")
    finally:
        terminal.close()
    full_disk.check_afterwards()


def test_console_says_where_results_are(full_disk: FullDisk) -> None:
    """``worker stop --now`` on a full disk says that a result is in the journal; afterwards it has nothing to say."""
    pool = full_disk.harness.start()
    full_disk.end_job()
    stop = (*CONSOLE, "worker", "stop", "--now")
    done = subprocess.run(stop, env=environment(full_disk.harness.path), capture_output=True, text=True, check=True)
    assert done.stdout == "1 worker(s) stopped.\n"
    assert (
        done.stderr == "queuectl: 1 result(s) are only in the journals of the workers; the next workers record them\n"
    )
    pool.wait(60)
    full_disk.check_afterwards()
    done = subprocess.run(stop, env=environment(full_disk.harness.path), capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_drain_on_a_full_disk_waits_for_room(full_disk: FullDisk) -> None:
    """A first request keeps the result until it can be recorded."""
    pool = full_disk.harness.start()
    full_disk.end_job()
    pool.stop(wait=False)
    until(lambda: [each for each in full_disk.harness.events("warning") if "full" in each["text"]])
    full_disk.make_room()
    assert pool.wait(60) == 0
    assert full_disk.harness.outcomes(full_disk.job) == ["succeeded"]


class EndedProcess:
    """A process that has ended and was not reaped."""

    def __init__(self, parent: int) -> None:
        self.parent = parent

    def status(self) -> str:
        """Return what psutil does."""
        return psutil.STATUS_ZOMBIE

    def num_threads(self) -> int:
        """Return one: the other threads have ended, too."""
        return 1

    def ppid(self) -> int:
        """Return the process that has to reap it."""
        return self.parent


@pytest.mark.parametrize(("parent", "waited", "ended"), [(1, 0.0, False), (1, 1.6, True), (os.getpid(), 0.0, True)])
def test_a_stop_waits_until_process_1_has_reaped_the_supervisor(parent: int, waited: float, *, ended: bool) -> None:
    """A supervisor whose starter has ended is gone after a stop, unless process 1 takes too long to reap it."""
    process: Any = EndedProcess(parent)
    assert workers._has_ended(process, waited) == ended


def test_stop_while_another_program_locks_the_file(harness: WorkerHarness, tmp_path: Path) -> None:
    """``worker stop --now`` ends workers although nothing can be written; the job is returned later."""
    pids = tmp_path / "pids"
    job = harness.add(f"echo $$ >> {pids}; sleep 600", timeout=0)
    pool = harness.start()
    shell = read_pid(pids)
    until(lambda: job.history[0].pid)
    holder = sqlite3.connect(harness.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with within(LIMIT_S):
            assert harness.queue.stop_workers(now=True) == ["worker-1"]
        assert not alive(shell)
        until(lambda: not pool.alive)
    finally:
        holder.close()
    harness.queue.pause()
    harness.start()
    until(lambda: job.state is State.PENDING)
    assert harness.outcomes(job) == ["returned"]


@pytest.fixture
def frozen_supervisor(harness: WorkerHarness, tmp_path: Path) -> Iterator[Job]:
    """Return a running job whose worker has a supervisor that is stopped."""
    job = harness.add(f"echo $$ > {tmp_path / 'pid'}; until [ -e {tmp_path / 'go'} ]; do sleep 0.02; done", timeout=0)
    pool = harness.start()
    read_pid(tmp_path / "pid")
    until(lambda: job.history[0].pid)
    os.kill(pool.pid, signal.SIGSTOP)
    yield job
    if pool.alive:
        os.kill(pool.pid, signal.SIGCONT)


def test_stop_of_a_frozen_supervisor(harness: WorkerHarness, frozen_supervisor: Job, tmp_path: Path) -> None:
    """``worker stop`` ends once the worker has ended; the supervisor follows when it runs again."""
    (tmp_path / "go").touch()
    assert harness.queue.stop_workers() == ["worker-1"]
    assert harness.outcomes(frozen_supervisor) == ["succeeded"]
    os.kill(harness.pools[0].pid, signal.SIGCONT)
    assert harness.pools[0].wait(60) == 0


@pytest.mark.parametrize("how", ["pool.stop", "worker stop"])
@pytest.mark.parametrize("frozen_worker", [False, True])
def test_stop_now_of_a_frozen_supervisor(
    harness: WorkerHarness, frozen_supervisor: Job, tmp_path: Path, how: str, *, frozen_worker: bool
) -> None:
    """Nothing is left after a stop, also if the worker is frozen too, and its job is settled."""
    shell = read_pid(tmp_path / "pid")
    worker = harness.freeze() if frozen_worker else harness.worker_pid()
    with within(LIMIT_S):
        STOPS[how](harness)
    assert not alive(worker)
    assert not alive(shell)
    assert job_processes(harness.path) == []
    assert harness.outcomes(frozen_supervisor) == ["lost" if frozen_worker else "returned"]
    until(lambda: not harness.pools[0].alive)


def test_console_kills_a_frozen_supervisor(terminals: Terminals, queue: Queue, tmp_path: Path) -> None:
    """The second Ctrl+C ends ``worker start`` although its supervisor is stopped, and says so."""
    queue.set("kill_grace", "0.3")
    terminal = terminals.open("worker", "start")
    terminals.run("enqueue", "--id", "a", "--command", f"echo $$ > {tmp_path / 'pid'}; sleep 600")
    shell = read_pid(tmp_path / "pid")
    terminal.wait_for_line("started")  # a job may start before the supervisor has reported that
    supervisor = until(queue.store.workers.list_all)[0].pool
    os.kill(supervisor, signal.SIGSTOP)
    terminal.interrupt()
    terminal.wait_for_line("press Ctrl+C again")
    with within(LIMIT_S):
        terminal.interrupt()
        assert terminal.wait() == 3
    terminal.wait_for_line("does not respond", "killed")
    assert not alive(shell)
    assert queue.job("a").state in {State.PENDING, State.FAILED}


@pytest.mark.parametrize("options", [[], ["--now"]])
def test_stop_of_a_worker_that_cannot_be_started(
    harness: WorkerHarness, run: Callable[..., Ran], options: list[str]
) -> None:
    """``worker stop`` ends a pool whose dead worker cannot be started: its FIFO was replaced by a file."""
    pool = harness.start()
    fifo = worker_fifo(harness.queue.store.db.spool, "worker-1")
    until(fifo.exists)
    fifo.unlink()
    fifo.touch()
    os.kill(harness.worker_pid(), signal.SIGKILL)
    until(lambda: harness.events("worker_died", why="exit code 1"))
    assert run("worker", "stop", *options).stdout == "1 worker(s) stopped.\n"
    until(lambda: not pool.alive)


def test_frozen_worker_is_killed_in_time(harness: WorkerHarness, tmp_path: Path) -> None:
    """``worker stop --now`` does not wait for the lease of a frozen worker."""
    harness.queue.set("lease", 60)
    job = harness.add(f"echo $$ > {tmp_path / 'pid'}; sleep 600")
    pool = harness.start()
    shell = read_pid(tmp_path / "pid")
    until(lambda: job.history[0].pid)
    harness.freeze()
    with within(LIMIT_S):
        assert harness.queue.stop_workers(now=True) == ["worker-1"]
    assert pool.wait(60) in {0, -signal.SIGKILL}  # on a loaded machine the supervisor may be late, and killed as well
    assert not alive(shell)


def test_late_supervisor_leaves_no_process(harness: WorkerHarness, tmp_path: Path) -> None:
    """A supervisor that is delayed beyond all deadlines of a stop still kills the job of its frozen worker."""
    harness.queue.set("kill_grace", "0")
    harness.add(f"echo $$ > {tmp_path / 'pid'}; sleep 600")
    pool = harness.start()
    shell = read_pid(tmp_path / "pid")
    harness.freeze()
    pool._send(b"now\n")  # without the thread that kills the supervisor
    pipe = pool.process.stdin
    assert pipe is not None
    until(lambda: fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4) == b"\0" * 4)
    os.kill(pool.pid, signal.SIGSTOP)
    time.sleep(LEAVE_MARGIN_S + 0.2)
    os.kill(pool.pid, signal.SIGCONT)
    pool.wait(60)
    until(lambda: not alive(shell))
    assert job_processes(harness.path) == []


def test_journal_has_reserved_space(small_disk: Path) -> None:
    """Outcomes fit into the journal on a full disk; its space is released when it is closed."""
    journal = OutcomeJournal(small_disk, "w")
    fill_disk(small_disk / "ballast")
    size = 0
    for number in range(10):
        journal.record(f"token-{number}", Exited(0), Ending(1.0, stdout="x" * 3000, stdout_size=3000))
        journal.clear()
        journal.record(f"token-{number}", Exited(0), Ending(1.0, stdout="x" * 3000, stdout_size=3000))
        size = journal_path(small_disk, "w").stat().st_size
    assert size == RESERVED_BYTES
    assert list(read_journal(small_disk, "w")) == ["token-9"]
    journal.clear()
    journal.close()
    assert journal_path(small_disk, "w").stat().st_size == 0
