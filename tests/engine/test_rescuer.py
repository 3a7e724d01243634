"""Rescuer: which attempts it settles, and which processes it kills."""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import queuectl_nb
from queuectl_nb.engine import heartbeat, process_tree
from queuectl_nb.engine.outcome_journal import MAX_STREAM_BYTES, OutcomeJournal, journal_path, read_journal
from queuectl_nb.engine.rescuer import Rescuer
from queuectl_nb.engine.worker_record import RecordWriter
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.call import CallValue
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.outcome import Exited, Raised
from queuectl_nb.model.state import State
from queuectl_nb.store.claims import Claims
from tests.engine.harness import alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.model.attempt import Lease
    from tests.engine.harness import WorkerHarness

LOST = "worker-7"


def claim(harness: WorkerHarness, count: int = 1, *, add: bool = True) -> list[Lease]:
    """Claim jobs as the nonexistent worker LOST, which has started the first of them."""
    store = harness.queue.store
    for _ in range(count if add else 0):
        harness.add("true")
    settings = harness.queue.settings
    leases = (
        Claims(store.db, LOST, "here").settle_and_claim(limit=count, settings=settings, now=time.time(), rand=0).leases
    )
    handle = heartbeat.take_lock(store.worker_dir, LOST)
    assert handle is not None
    RecordWriter(handle, LOST).begin(leases[0].token)
    os.close(handle)
    return leases


def test_corrupt_journal_does_not_prevent_a_rescue(harness: WorkerHarness) -> None:
    """A corrupt journal is read up to the first invalid entry."""
    (lease,) = claim(harness)
    none = struct.pack("<II", 1, zlib.crc32(b"N")) + b"N"
    for corrupt in (b"", b"\x05\0\0\0", bytes(64), b"\x05\0\0\0\0\0\0\0hello", none, os.urandom(4096)):
        journal_path(harness.queue.store.worker_dir, LOST).write_bytes(corrupt)
        assert read_journal(harness.queue.store.worker_dir, LOST) == {}
    assert Rescuer(harness.queue.store).rescue_dead() == [(lease.job_id, LOST)]
    assert harness.queue.job(lease.job_id).state is State.FAILED


def test_partial_entry_does_not_affect_later_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that the disk took only in part is dropped; later entries are readable."""
    journal, write = OutcomeJournal(tmp_path, "w"), os.pwrite
    journal.record("before", Exited(0), Ending(1.0))
    monkeypatch.setattr(os, "pwrite", lambda handle, raw, at: write(handle, raw[:10], at))
    journal.record("cut", Exited(0), Ending(2.0))
    monkeypatch.undo()
    journal.record("after", Exited(1), Ending(3.0))
    assert list(read_journal(tmp_path, "w")) == ["before", "after"]


def test_partial_entry_over_an_earlier_one_is_dropped(tmp_path: Path) -> None:
    """An entry of several pages that was cut by SIGKILL is not completed by what was in the journal before."""
    journal, path = OutcomeJournal(tmp_path, "w"), journal_path(tmp_path, "w")
    journal.record("a" * 32, Exited(0), Ending(1.0, stdout="a" * 9000, stdout_size=9000))
    before = path.read_bytes()
    journal.clear()
    journal.record("b" * 32, Exited(0), Ending(2.0, stdout="b" * 9000, stdout_size=9000))
    page = os.sysconf("SC_PAGE_SIZE")
    path.write_bytes(path.read_bytes()[:page] + before[page:])
    assert read_journal(tmp_path, "w") == {}


@pytest.mark.parametrize("kind", ["lock", "dispatched", "outcomes"])
def test_nothing_is_settled_if_a_file_is_unreadable(harness: WorkerHarness, kind: str) -> None:
    """An unreadable file of the lost worker is reported by name, and its jobs wait for the next run."""
    (lease,) = claim(harness)
    path = harness.queue.store.worker_dir / f"{LOST}.{kind}"
    path.unlink(missing_ok=True)
    path.mkdir()
    with pytest.raises(BadEnvironment, match=rf"cannot settle the attempts of {LOST} yet: .*{LOST}\.{kind}"):
        Rescuer(harness.queue.store).settle_for(LOST, "died")
    assert harness.queue.job(lease.job_id).state is State.PROCESSING
    path.rmdir()
    assert Rescuer(harness.queue.store).rescue_dead() == [(lease.job_id, LOST)]


def test_nothing_is_settled_while_a_process_is_running(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that survives SIGKILL delays the rescue of its job."""
    (lease,) = claim(harness)
    monkeypatch.setattr(process_tree, "kill_until_gone", lambda *_: False)
    assert Rescuer(harness.queue.store).rescue_dead() == []
    assert harness.queue.job(lease.job_id).state is State.PROCESSING
    monkeypatch.undo()
    assert Rescuer(harness.queue.store).rescue_dead() == [(lease.job_id, LOST)]


PLANT = {"link": "ln -s $victim $f", "hard link": "ln $victim $f", "folder": "mkdir $f", "pipe": "mkfifo $f"}
"""Ways to replace an output file; ``victim`` is a file outside the spool."""


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Create a file known to the job as ``$victim``, and check that it is unchanged afterwards."""
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
def test_job_that_replaces_its_output_file(harness: WorkerHarness, planted: str) -> None:
    """A job that replaces its output file completes with a note; its worker continues."""
    own = "until [ -e $f ]; do sleep 0.01; done"  # after it has files of its own
    odd = harness.add(f"f=${{QUEUECTL_RESULT%result}}stdout; {own}; rm $f; {PLANT[planted]}", max_retries=1)
    harness.start()
    harness.queue.wait(odd, timeout=20)
    assert odd.refresh().state is State.COMPLETED
    if planted != "hard link":  # a hard link is read like any file
        assert "its output could not be read" in (odd.error or "")
    assert harness.add("true").wait(timeout=60).state is State.COMPLETED
    assert harness.events("worker_died") == []


@pytest.mark.usefixtures("victim")
@pytest.mark.parametrize("planted", PLANT)
def test_anything_in_place_of_the_next_output_file_is_removed(harness: WorkerHarness, planted: str) -> None:
    """A job that puts something in place of the next output file does not prevent the next start."""
    harness.start()
    name = f"{harness.path}-spool/output/worker-1.stdout"
    odd = harness.add(f"f={name}; sleep 0.1; rm -f $f; {PLANT[planted]}", max_retries=1)
    assert odd.wait(timeout=60).state is State.COMPLETED
    assert harness.add("echo hello").wait(timeout=60).log() == "hello\n"


@pytest.mark.usefixtures("victim")
@pytest.mark.parametrize("planted", PLANT)
def test_job_that_replaces_its_output_file_and_kills_its_worker(harness: WorkerHarness, planted: str) -> None:
    """Such a job ends dead, and other jobs run."""
    harness.queue.set("backoff_max", 0)
    odd = harness.add(f"f=$(readlink /proc/$$/fd/1); rm $f; {PLANT[planted]}; kill -9 $PPID", max_retries=2)
    pool = harness.start()
    harness.queue.wait(odd, timeout=30)
    assert (odd.refresh().state, harness.outcomes(odd)) == (State.DEAD, ["lost", "lost"])
    assert harness.add("true").wait(timeout=60).state is State.COMPLETED
    assert pool.alive


def test_removed_output_files_lose_only_the_output(harness: WorkerHarness) -> None:
    """Removing the files of a running job loses its output but not the job."""
    job = harness.add("rm $(readlink /proc/$$/fd/1) $(readlink /proc/$$/fd/2); sleep 0.1", max_retries=1)
    harness.start()
    assert job.wait(timeout=60).state is State.COMPLETED
    assert harness.events("worker_died") == []


def test_readers_of_the_output_are_not_killed(harness: WorkerHarness) -> None:
    """A process that only reads the spool file of a lost job is not killed."""
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

def slow(*args, **fields):
    print("locked", flush=True)
    sys.stdin.readline()
    return capture(*args, **fields)

capture, rescuer.capture_ending = rescuer.capture_ending, slow
print(rescuer.Rescuer(Queue(sys.argv[1]).store).rescue_frozen([sys.argv[2]]), flush=True)
"""


@pytest.fixture
def slow_rescuer(harness: WorkerHarness) -> Iterator[subprocess.Popen[str]]:
    """Return another process that settles for LOST and waits for a line while it does."""
    claim(harness)
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_RESCUER, str(harness.path), LOST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(queuectl_nb.__file__).parents[1])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_rescuers_do_not_kill_each_other(harness: WorkerHarness, slow_rescuer: subprocess.Popen[str]) -> None:
    """A second rescuer of the same worker waits and does not mistake the first one for a process of the job."""
    assert Rescuer(harness.queue.store).rescue_frozen([LOST]) == []
    assert alive(slow_rescuer.pid)
    found, _ = slow_rescuer.communicate("\n", timeout=20)
    assert found.strip() == str([("job-1", LOST)])
    assert harness.queue.job("job-1").state is State.FAILED


def test_journal_entry_with_large_output_keeps_host_and_note(harness: WorkerHarness) -> None:
    """Host and note come from the journal even if the output is in files."""
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


def test_journal_entry_with_large_output_keeps_values(harness: WorkerHarness) -> None:
    """A value survives its worker, however much the job has written: a cell prints what it displays."""
    job = harness.queue.submit(str.upper, "x")
    (lease,) = claim(harness, add=False)
    store, size = harness.queue.store, MAX_STREAM_BYTES + 1
    store.spool.path(lease.token, "stdout").write_bytes(b"x" * size)
    body = pickle.dumps("X")
    ending = Ending(5.0, 4.0, 77, stdout_size=size, result='"X"', result_repr="'X'")
    values = (CallValue(0, raised=False, body=body, sha256=None, size=len(body)),)
    OutcomeJournal(store.worker_dir, LOST).record(lease.token, Exited(0), ending._replace(values=values))
    Rescuer(store).rescue_dead()
    assert job.result(timeout=0) == "X"
    assert (job.record.result, job.record.result_repr, job.log()) == ("X", "'X'", "x" * size)


def test_text_that_is_not_unicode_is_escaped(harness: WorkerHarness) -> None:
    """The error of an exception and a note may contain names of files that are not UTF-8."""
    store = harness.queue.store
    leases = claim(harness, 2)
    journal = OutcomeJournal(store.worker_dir, LOST)
    journal.record(leases[0].token, Raised("ValueError: \udcff"), Ending(5.0, 4.0, 77))
    journal.record(leases[1].token, Exited(0), Ending(5.0, 4.0, 78, note="kept no \udcff"))
    assert len(Rescuer(store).rescue_dead()) == 2
    errors = [harness.queue.job(lease.job_id).history[0].error for lease in leases]
    assert errors == ["ValueError: \\udcff", "kept no \\udcff"]


def test_outcome_that_cannot_be_recorded(harness: WorkerHarness) -> None:
    """Its attempt is lost, and those of other jobs are recorded."""
    store = harness.queue.store
    leases = claim(harness, 2)
    journal = OutcomeJournal(store.worker_dir, LOST)
    journal.record(leases[0].token, Exited(2**70), Ending(5.0, 4.0, 77))
    journal.record(leases[1].token, Exited(0), Ending(5.0, 4.0, 78))
    assert len(Rescuer(store).rescue_dead()) == 2
    assert [harness.queue.job(lease.job_id).history[0].outcome for lease in leases] == ["lost", "succeeded"]


FREEZE_SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from queuectl_nb.engine import heartbeat
from queuectl_nb.store.store import Store
store = Store(Path(sys.argv[1]))
locks = []
def take_lock(name):
    locks.append(heartbeat.take_lock(store.worker_dir, name))
    return True
(name,) = store.workers.register(take_lock, pool=os.getppid(), host=heartbeat.host_name(), queues=[], now=time.time())
store.workers.mark_running({name: os.getpid()}, time.time())
if sys.argv[2] == "writing":
    with store.db.write():
        print(name, flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
else:
    print(name, flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("where", ["writing", "idle"])
def test_worker_frozen_during_a_write_is_killed(harness: WorkerHarness, where: str) -> None:
    """A worker frozen while holding the write lock is killed; one frozen elsewhere is not."""
    script = [sys.executable, "-c", FREEZE_SCRIPT, str(harness.path), where]
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
            assert worker.wait(60) == -signal.SIGKILL
        else:
            assert worker.poll() is None
        harness.queue.pause()  # a write: it gets in
    finally:
        worker.kill()
        worker.wait()
        if worker.stdout is not None:
            worker.stdout.close()
