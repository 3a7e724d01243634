"""A rescuer on its own: what it must not be stopped by, whom it must not kill, what it must not settle yet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import queuectl_nb
from queuectl_nb.engine import heartbeat, process_tree
from queuectl_nb.engine.outcome_journal import MAX_STREAM_BYTES, OutcomeJournal, journal_path, read_journal
from queuectl_nb.engine.rescuer import Rescuer
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import State
from queuectl_nb.store.claims import Claims
from tests.engine.harness import alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.model.attempt import Lease
    from tests.engine.harness import WorkerHarness

LOST = "worker-7"


def claim(harness: WorkerHarness, count: int = 1) -> list[Lease]:
    """Let the worker LOST, which nobody is, claim jobs; the first of them it has started."""
    store = harness.queue.store
    for _ in range(count):
        harness.add("true")
    settings = harness.queue.settings
    leases = (
        Claims(store.db, LOST, "here").settle_and_claim(limit=count, settings=settings, now=time.time(), rand=0).leases
    )
    handle = heartbeat.take_lock(store.worker_dir, LOST)
    assert handle is not None
    heartbeat.record_current_attempt(handle, leases[0].token)
    os.close(handle)
    return leases


def test_a_spoilt_journal_stops_no_rescue(harness: WorkerHarness) -> None:
    """What a crash or a full disk left of a journal is read as far as it makes sense; the rest is lost, not fatal."""
    (lease,) = claim(harness)
    for spoilt in (bytes(64), b"\x05\0\0\0hello", b"\x01\0\0\0N", os.urandom(4096)):
        journal_path(harness.queue.store.worker_dir, LOST).write_bytes(spoilt)
        assert read_journal(harness.queue.store.worker_dir, LOST) == {}
    assert Rescuer(harness.queue.store).rescue_dead() == [(lease.job_id, LOST)]
    assert harness.queue.job(lease.job_id).state is State.FAILED


def test_a_half_written_entry_spoils_none_that_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk takes only a part of an entry it is left out, and what is noted later is found."""
    journal, write = OutcomeJournal(tmp_path, "w"), os.write
    journal.record("before", Exited(0), Ending(1.0))
    monkeypatch.setattr(os, "write", lambda handle, raw: write(handle, raw[:10]))
    journal.record("cut", Exited(0), Ending(2.0))
    monkeypatch.undo()
    journal.record("after", Exited(1), Ending(3.0))
    assert list(read_journal(tmp_path, "w")) == ["before", "after"]


@pytest.mark.parametrize("kind", ["lock", "sent", "outcomes"])
def test_nothing_is_settled_where_what_is_known_cannot_be_read(harness: WorkerHarness, kind: str) -> None:
    """A file of the lost worker that is there and cannot be read is named, and its jobs wait for another look."""
    (lease,) = claim(harness)
    path = harness.queue.store.worker_dir / f"{LOST}.{kind}"
    path.unlink(missing_ok=True)
    path.mkdir()
    with pytest.raises(BadEnvironment, match=rf"cannot settle the attempts of {LOST} yet: .*{LOST}\.{kind}"):
        Rescuer(harness.queue.store).settle_for(LOST, "died")
    assert harness.queue.job(lease.job_id).state is State.PROCESSING
    path.rmdir()
    assert Rescuer(harness.queue.store).rescue_dead() == [(lease.job_id, LOST)]


def test_nothing_is_settled_while_a_process_of_the_attempt_lives(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that does not end, although it was killed, keeps its job from running again until a later look."""
    (lease,) = claim(harness)
    monkeypatch.setattr(process_tree, "kill_until_gone", lambda *_: False)
    assert Rescuer(harness.queue.store).rescue_dead() == []
    assert harness.queue.job(lease.job_id).state is State.PROCESSING
    monkeypatch.undo()
    assert Rescuer(harness.queue.store).rescue_dead() == [(lease.job_id, LOST)]


PLANT = {"link": "ln -s $victim $f", "hard link": "ln $victim $f", "folder": "mkdir $f", "pipe": "mkfifo $f"}
"""What a job may put in the place of its output; ``victim`` is a file outside the spool."""


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a file that the job knows as ``$victim``, and check that it is unchanged afterwards."""
    path = tmp_path / "victim"
    path.write_text("precious\n")
    before = path.stat()
    monkeypatch.setenv("victim", str(path))
    yield
    after = path.stat()
    assert path.read_text() == "precious\n"
    assert (after.st_mode, after.st_size) == (before.st_mode, before.st_size)


@pytest.mark.usefixtures("victim")
@pytest.mark.parametrize("planted", PLANT)
def test_output_that_cannot_be_read_costs_no_more_than_that(harness: WorkerHarness, planted: str) -> None:
    """A job that put something else in the place of its output ends by itself; its worker and others go on."""
    own = "until [ -e $f ]; do sleep 0.01; done"  # once it has lasted
    odd = harness.add(f"f=${{QUEUECTL_RESULT%result}}stdout; {own}; rm $f; {PLANT[planted]}", max_retries=1)
    harness.start()
    harness.queue.wait(odd, timeout=20)
    assert odd.refresh().state is State.COMPLETED
    if planted != "hard link":  # which is a file like any other to whoever reads it
        assert "its output could not be read" in (odd.error or "")
    assert harness.add("true").wait(timeout=20).state is State.COMPLETED
    assert harness.events("worker_died") == []


@pytest.mark.usefixtures("victim")
@pytest.mark.parametrize("planted", PLANT)
def test_what_lies_in_the_place_of_the_next_output_is_removed(harness: WorkerHarness, planted: str) -> None:
    """A job that puts something where its worker's next job will write keeps nobody from starting."""
    harness.start()
    name = f"{harness.path}-spool/output/worker-1.stdout"
    odd = harness.add(f"f={name}; sleep 0.1; rm -f $f; {PLANT[planted]}", max_retries=1)
    assert odd.wait(timeout=20).state is State.COMPLETED
    assert harness.add("echo hello").wait(timeout=20).log() == "hello\n"


@pytest.mark.usefixtures("victim")
@pytest.mark.parametrize("planted", PLANT)
def test_a_job_that_spoils_its_output_and_kills_its_worker(harness: WorkerHarness, planted: str) -> None:
    """What such a job leaves stops neither pool nor queue: it is dead in the end, and others run."""
    harness.queue.set("backoff_max", 0)
    odd = harness.add(f"f=$(readlink /proc/$$/fd/1); rm $f; {PLANT[planted]}; kill -9 $PPID", max_retries=2)
    pool = harness.start()
    harness.queue.wait(odd, timeout=30)
    assert (odd.refresh().state, harness.outcomes(odd)) == (State.DEAD, ["lost", "lost"])
    assert harness.add("true").wait(timeout=20).state is State.COMPLETED
    assert pool.alive


def test_output_removed_under_a_job_costs_nothing_else(harness: WorkerHarness) -> None:
    """Whoever removes the files of a running job loses what it printed, not the job."""
    job = harness.add("rm $(readlink /proc/$$/fd/1) $(readlink /proc/$$/fd/2); sleep 0.1", max_retries=1)
    harness.start()
    assert job.wait(timeout=20).state is State.COMPLETED
    assert harness.events("worker_died") == []


def test_who_only_reads_a_jobs_output_is_not_killed(harness: WorkerHarness) -> None:
    """A person who looks at the spool file of a lost job is no process of it."""
    (lease,) = claim(harness)
    path = harness.queue.store.spool.path(lease.token, "stdout")
    path.write_text("hello")
    with subprocess.Popen(["tail", "-f", str(path)], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.read(5)
        assert Rescuer(harness.queue.store).rescue_dead() == [(lease.job_id, LOST)]
        assert alive(reader.pid)
        reader.kill()


SLOW_RESCUER = """
import sys, time
from queuectl_nb.engine import rescuer
from queuectl_nb.client import Queue

def slow(*args, **facts):
    print("sealed", flush=True)
    sys.stdin.readline()
    return capture(*args, **facts)

capture, rescuer.capture_ending = rescuer.capture_ending, slow
print(rescuer.Rescuer(Queue(sys.argv[1]).store).rescue_frozen([sys.argv[2]]), flush=True)
"""


@pytest.fixture
def rescuing(harness: WorkerHarness) -> Iterator[subprocess.Popen[str]]:
    """Return another process that settles for LOST and waits in the middle of it for a line."""
    claim(harness)
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_RESCUER, str(harness.path), LOST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(queuectl_nb.__file__).parents[1])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "sealed\n"
    yield process
    process.kill()
    process.communicate()


def test_rescuers_leave_each_other_alone(harness: WorkerHarness, rescuing: subprocess.Popen[str]) -> None:
    """Of two pools that settle for the same frozen worker the second waits, and does not take the first for a job."""
    assert Rescuer(harness.queue.store).rescue_frozen([LOST]) == []
    assert alive(rescuing.pid)
    found, _ = rescuing.communicate("\n", timeout=20)
    assert found.strip() == str([("job-1", LOST)])
    assert harness.queue.job("job-1").state is State.FAILED


def test_what_a_lost_dispatcher_knew_of_much_output_is_kept(harness: WorkerHarness) -> None:
    """An end in the journal brings its host and its note, also where the output lies in files."""
    (lease,) = claim(harness)
    store = harness.queue.store
    size = MAX_STREAM_BYTES + 1
    store.spool.path(lease.token, "stdout").write_bytes(b"x" * size)
    OutcomeJournal(store.worker_dir, LOST).record(
        lease.token, Exited(0), Ending(5.0, 4.0, 77, "", None, size, host="far", note="cut short")
    )
    Rescuer(store).rescue_dead()
    (attempt,) = harness.queue.job(lease.job_id).history
    assert (attempt.outcome, attempt.host, attempt.error) == ("succeeded", "far", "cut short")
    assert len(attempt.stdout or "") == size


STANDS_STILL = """
import os, signal, sys, time
from pathlib import Path
from queuectl_nb.engine import heartbeat
from queuectl_nb.store.store import Store
store = Store(Path(sys.argv[1]))
locks = []
def hold(name):
    locks.append(heartbeat.take_lock(store.worker_dir, name))
    return True
name = store.workers.register(hold, pool=os.getppid(), host=heartbeat.host_name(), queues=[], now=time.time())
store.workers.mark_running({name: os.getpid()}, time.time())
if sys.argv[2] == "writing":
    with store.db.write():
        print(name, flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
else:
    print(name, flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="who holds a file is told by /proc")
@pytest.mark.parametrize("where", ["writing", "at rest"])
def test_a_worker_that_stands_still_within_a_write_is_ended(harness: WorkerHarness, where: str) -> None:
    """While it lives nobody else would ever get in; one that stands still elsewhere is left to go on some day."""
    script = [sys.executable, "-c", STANDS_STILL, str(harness.path), where]
    worker = subprocess.Popen(
        script,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(queuectl_nb.__path__[0]).parent)},
    )
    try:
        assert worker.stdout is not None
        name = worker.stdout.readline().strip()
        until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)
        assert Rescuer(harness.queue.store).rescue_frozen([name]) == []
        if where == "writing":
            assert worker.wait(10) == -signal.SIGKILL
        else:
            assert worker.poll() is None
        harness.queue.pause()  # a write: it gets in
    finally:
        worker.kill()
        worker.wait()
        if worker.stdout is not None:
            worker.stdout.close()
