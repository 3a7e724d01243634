"""Jobs that hide: worker and supervisor are killed together, and the next attempt runs alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client import Queue
from queuectl_nb.engine import heartbeat, process_tree, rescuer, worker_record
from queuectl_nb.engine.rescuer import Rescuer
from queuectl_nb.engine.worker_record import RecordWriter, note_kill
from queuectl_nb.model.state import State
from queuectl_nb.store.claims import Claims
from queuectl_nb.store.spool import STREAMS
from tests.engine.harness import alive, read_pid, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from queuectl_nb.client import Job
    from queuectl_nb.model.attempt import Lease
    from tests.engine.harness import WorkerHarness

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def started_pid(job: Job) -> int:
    """Wait until the start of the job's first attempt is recorded, and return its pid."""
    pid: int = until(lambda: next((attempt.pid for attempt in job.history), None))
    return pid


def kill_pool(harness: WorkerHarness, *, then_kill: Sequence[int] = ()) -> None:
    """Kill the worker, its supervisor and other processes, none of which can react to the death of another."""
    pool = harness.pools[-1].pid
    assert pool is not None
    pids = [pool, harness.worker_pid(), *then_kill]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)


FIRST = "[ $QUEUECTL_ATTEMPT = 1 ] || {{ grep -qs sleep /proc/$(cat {0})/cmdline && touch seen; exit 0; }}; "
"""Beginning of a command whose second attempt reports whether the process with the pid in file {0} is alive."""
HIDDEN = {
    "clean environment": "echo $$ > pid; exec env -i sleep 60 > mine.log 2>&1",
    "leader gone": "exec > mine.log 2>&1; env -i sleep 60 & echo $! > pid; wait",
    "child in a session of its own": "exec > mine.log 2>&1; setsid env -i sleep 60 & echo $! > pid; wait",
}


@pytest.mark.parametrize("how", HIDDEN)
def test_hidden_job_does_not_overlap(harness: WorkerHarness, tmp_path: Path, how: str) -> None:
    """A job with a clean environment and output of its own is killed before its next attempt starts."""
    job = harness.add(FIRST.format("pid") + HIDDEN[how], cwd=str(tmp_path), max_retries=2)
    harness.queue.set("backoff_max", 0)
    harness.start()
    hidden = read_pid(tmp_path / "pid")
    leader = started_pid(job)
    kill_pool(harness, then_kill=[leader] if how == "leader gone" else [])
    assert alive(hidden)
    harness.start()
    job.wait(timeout=60)
    assert (job.state, harness.outcomes(job)) == (State.COMPLETED, ["lost", "succeeded"])
    assert not (tmp_path / "seen").exists()
    assert not alive(hidden)


def _hide(pid: str) -> None:
    """Close the output, and write the pid to a file."""
    os.closerange(0, 3)
    with open(f"{pid}.new", "w") as file:
        file.write(f"{os.getpid()}")
    os.rename(f"{pid}.new", pid)
    time.sleep(60)


def test_a_call_without_output_is_found(harness: WorkerHarness, tmp_path: Path) -> None:
    """Its environment, that of its fork server, has no token: it is found as a child of the holder of its output.

    So it is killed also if worker and supervisor were killed before its pid was recorded.
    """
    harness.start()
    job = harness.queue.submit(_hide, str(tmp_path / "pid"))
    hidden = read_pid(tmp_path / "pid")
    token, spool = job.history[0].token, harness.queue.store.spool
    own = (str(spool.path(token, stream)) for stream in STREAMS)
    paths = [*spool.worker_files("worker-1").paths.values(), *own]
    assert hidden in [process.pid for process in process_tree.holders([token], paths)]


def test_queue_inside_a_job_leaves_no_process(harness: WorkerHarness, tmp_path: Path) -> None:
    """The jobs of a queue that runs inside a lost job are killed with it."""
    inner, pid = tmp_path / "inner.db", tmp_path / "pid"
    queue = Queue(inner)
    queue.enqueue(f"echo $$ > {pid}; exec sleep 60", timeout=0)
    queue.close()
    command = FIRST.format(pid) + f"exec {sys.executable} -m queuectl_nb --db {inner} worker start --drain"
    job = harness.add(command, cwd=str(tmp_path), timeout=0, max_retries=2)
    harness.queue.set("backoff_max", 0)
    harness.start()
    inner_job = int(until(lambda: pid.exists() and pid.read_text().strip(), timeout=120))
    started_pid(job)
    kill_pool(harness)
    harness.start()
    job.wait(timeout=60)
    assert harness.outcomes(job) == ["lost", "succeeded"]
    assert not (tmp_path / "seen").exists()
    assert not alive(inner_job)


def test_hidden_job_of_a_frozen_worker_is_killed(harness: WorkerHarness, tmp_path: Path) -> None:
    """The descendants of a frozen worker are killed, whatever their session, environment and output."""
    command = "exec > mine.log 2>&1; (setsid env -i sleep 60 & echo $! > pid); exec env -i sleep 60"
    job = harness.add(command, cwd=str(tmp_path))
    harness.start()
    hidden = read_pid(tmp_path / "pid")
    started_pid(job)
    worker = harness.freeze()
    try:
        assert Rescuer(harness.queue.store).rescue_frozen(["worker-1"]) == [(job.id, "worker-1")]
        assert not alive(hidden)
    finally:
        os.kill(worker, signal.SIGCONT)


def test_thawed_worker_records_lost_for_what_a_rescuer_killed(harness: WorkerHarness) -> None:
    """If the worker resumes before the rescuer has settled, the outcome is ``lost``, not a death by SIGKILL."""
    job = harness.add("sleep 60", max_retries=1)
    harness.start()
    shell = started_pid(job)
    worker = harness.freeze()
    note_kill(heartbeat.lock_path(harness.queue.store.worker_dir, "worker-1"), job.history[0].token)
    os.killpg(shell, signal.SIGKILL)
    os.kill(worker, signal.SIGCONT)
    job.wait(timeout=60)
    assert (harness.outcomes(job), job.error) == (["lost"], "lost: worker-1 froze")


def test_rescuer_notes_what_it_kills(harness: WorkerHarness) -> None:
    """The note is written before the processes are killed."""
    job = harness.add("sleep 60")
    harness.start()
    started_pid(job)
    worker, path = harness.worker_pid(), heartbeat.lock_path(harness.queue.store.worker_dir, "worker-1")
    os.kill(worker, signal.SIGSTOP)
    try:
        Rescuer(harness.queue.store).rescue_frozen(["worker-1"])
        assert worker_record.read_record(path).killed_token == job.history[0].token
    finally:
        os.kill(worker, signal.SIGCONT)


def test_rescuer_notes_an_attempt_that_began_meanwhile(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that resumes during its rescue starts the next job: the note names what is killed, not what was read."""
    path = heartbeat.lock_path(harness.queue.store.worker_dir, "worker-1")
    harness.start()
    harness.add("true").wait(timeout=60)
    records = [worker_record.read_record(path)]
    job = harness.add("sleep 60")
    started_pid(job)
    monkeypatch.setattr(rescuer, "read_record", lambda _: records.pop() if records else worker_record.read_record(path))
    worker = harness.freeze()
    try:
        Rescuer(harness.queue.store).rescue_frozen(["worker-1"])
        assert worker_record.read_record(path).killed_token == job.history[0].token
    finally:
        os.kill(worker, signal.SIGCONT)


def test_rescuer_leaves_a_later_attempt(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that resumes during its rescue may settle what was to be rescued, claim a job and start it."""
    path = heartbeat.lock_path(harness.queue.store.worker_dir, "worker-1")
    harness.start()
    job = harness.add("sleep 0.5")
    started_pid(job)
    worker = harness.freeze()
    try:
        current = worker_record.read_record(path)
        records = [current._replace(token="0" * 32)]
        held = [each._replace(token="0" * 32) for each in Claims(harness.queue.store.db, "worker-1", "").held_leases()]
        monkeypatch.setattr(rescuer, "read_record", lambda _: records.pop() if records else current)
        monkeypatch.setattr(Claims, "held_leases", lambda _: held)
        assert Rescuer(harness.queue.store).rescue_frozen(["worker-1"]) == []
        monkeypatch.undo()
    finally:
        os.kill(worker, signal.SIGCONT)
    job.wait(timeout=60)
    assert harness.outcomes(job) == ["succeeded"]


def test_worker_ends_a_job_whose_lease_it_has_lost(harness: WorkerHarness, tmp_path: Path) -> None:
    """A job that a rescuer settled without killing it, from another container, is killed by its own worker."""
    pids = tmp_path / "pids"
    job = harness.add(f"echo $$ >> {pids}; [ $(wc -l < {pids}) -gt 1 ] || sleep 60")
    harness.queue.set("backoff_max", 0)
    harness.start()
    shell = read_pid(pids)
    started_pid(job)
    with harness.queue.store.db.write() as connection:
        connection.execute("UPDATE jobs SET state = 'failed', ready = 1, token = NULL WHERE id = ?", (job.id,))
    until(lambda: not alive(shell))
    assert job.wait(timeout=60).state is State.COMPLETED


LOST = "worker-7"


def lose(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch, boot: str) -> tuple[Job, Lease]:
    """Start a job, according to the records, in the worker LOST of another boot or pid namespace."""
    store, job = harness.queue.store, harness.add("true")
    (lease,) = (
        Claims(store.db, LOST, "here")
        .settle_and_claim(limit=1, settings=harness.queue.settings, now=time.time(), rand=0)
        .leases
    )
    handle = heartbeat.take_lock(store.worker_dir, LOST)
    assert handle is not None
    with monkeypatch.context() as patch:
        patch.setattr(worker_record, "boot_id", lambda: boot)
        writer = RecordWriter(handle, LOST)
    writer.begin(lease.token)
    writer.started(os.getpid())
    os.close(handle)
    return job, lease


def test_attempt_in_another_pid_namespace_waits_for_the_lease(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where processes cannot be seen, an attempt is settled when its lease has expired, as between hosts."""
    boot, _, _ = heartbeat.boot_id().partition(" ")
    job, _ = lose(harness, monkeypatch, f"{boot} pid:[1]")
    found = Rescuer(harness.queue.store)
    assert found.rescue_dead() == []
    assert job.refresh().state is State.PROCESSING
    clock = heartbeat.boot_clock
    monkeypatch.setattr("queuectl_nb.engine.heartbeat.boot_clock", lambda: clock() + 3600)
    assert found.rescue_dead() == [(job.id, LOST)]
    assert "may_overlap" in (job.history[0].error or "")


def test_attempt_before_a_reboot_is_settled_at_once(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reboot of this host no process of the attempt can be running, and its pid means nothing."""
    job, _ = lose(harness, monkeypatch, "an-earlier-boot pid:[1]")
    assert Rescuer(harness.queue.store).rescue_dead() == [(job.id, LOST)]
    assert "may_overlap" not in (job.history[0].error or "")


def test_process_of_the_attempt_does_not_settle_it(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rescuer that runs inside the lost attempt leaves it to others, which must kill the rescuer first."""
    job, lease = lose(harness, monkeypatch, heartbeat.boot_id())
    monkeypatch.setenv("QUEUECTL_ATTEMPT_TOKEN", lease.token)
    assert Rescuer(harness.queue.store).rescue_dead() == []
    monkeypatch.delenv("QUEUECTL_ATTEMPT_TOKEN")
    monkeypatch.setattr(process_tree, "holders", lambda *_: [])
    assert Rescuer(harness.queue.store).rescue_dead() == [(job.id, LOST)]
