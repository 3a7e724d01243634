"""Supervisor: restarts dead workers, ends with its starter and can be stopped from anywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client.workers import list_workers
from queuectl_nb.model.errors import BadEnvironment, InvalidSetting, NotFound
from queuectl_nb.model.state import State
from queuectl_nb.store.maintenance import KEPT_BYTES, read_space
from tests.engine.harness import alive, job_processes, read_pid, until, within

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.harness import WorkerHarness


def test_dead_worker_is_restarted_and_its_job_retried(harness: WorkerHarness, tmp_path: Path) -> None:
    """After SIGKILL of a worker its job's processes are killed, and a new worker retries the job."""
    pids = tmp_path / "pids"
    harness.queue.set("backoff_max", 0)
    job = harness.add(f"echo $$ >> {pids}; [ $(wc -l < {pids}) -gt 1 ] || {{ setsid sleep 60 & sleep 60; }}")
    harness.start()
    shell = read_pid(pids)
    worker = harness.worker_pid()
    os.kill(worker, signal.SIGKILL)
    with within(10):
        job.wait(timeout=60)
    assert (job.state, job.attempts, harness.outcomes(job)) == (State.COMPLETED, 2, ["lost", "succeeded"])
    assert not alive(shell)
    assert harness.worker_pid() != worker
    assert harness.events("worker_died", worker="worker-1", why="killed by SIGKILL")
    assert harness.events("rescued", job=job.id, was="worker-1")


def test_death_is_noticed_within_two_seconds(harness: WorkerHarness, tmp_path: Path) -> None:
    """If a worker and its supervisor die, another supervisor settles the job within 2 seconds."""
    pids = tmp_path / "pids"
    job = harness.add(f"echo $$ >> {pids}; sleep 60", max_retries=1)
    first = harness.start()
    read_pid(pids)
    harness.start()
    victims = [first.pid, harness.worker_pid()]
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    with within(2):
        job.wait(timeout=60)
    assert harness.outcomes(job) == ["lost"]
    assert job_processes(harness.path) == []


def test_job_that_kills_its_worker_goes_to_the_dead_letter_queue(harness: WorkerHarness) -> None:
    """A job that kills its worker uses up its own attempts only; jobs before and after it complete."""
    harness.queue.set("backoff_max", 0)
    before = [harness.add("true") for _ in range(20)]
    poison = harness.add("kill -9 $PPID", max_retries=2)
    after = [harness.add("true") for _ in range(20)]
    harness.start(2)
    harness.queue.wait(timeout=60)
    assert (poison.state, harness.outcomes(poison)) == (State.DEAD, ["lost", "lost"])
    assert [job.state for job in before + after] == [State.COMPLETED] * 40
    assert [harness.outcomes(job) for job in before + after] == [["succeeded"]] * 40


def test_large_result_survives_the_death_of_its_worker(harness: WorkerHarness) -> None:
    """A large result is complete even if the next job kills the worker at once."""
    harness.queue.set("backoff_max", 0)
    for _ in range(20):
        harness.add("true")
    write = "{ printf '\"'; head -c 60000 /dev/zero | tr '\\0' y; printf '\"'; } > $QUEUECTL_RESULT; echo done"
    large = [harness.add(write) for _ in range(4)]
    harness.add("kill -9 $PPID", max_retries=1)
    harness.start()
    harness.queue.wait(timeout=60)
    assert [harness.outcomes(job) for job in large] == [["succeeded"]] * 4
    assert [job.result() for job in large] == ["y" * 60_000] * 4


@pytest.mark.parametrize("command", ["kill 0", "kill -TERM 0; sleep 5", "kill -SEGV $$"])
def test_job_that_signals_its_own_group_fails_alone(harness: WorkerHarness, command: str) -> None:
    """A signal to its own process group ends the attempt but not the worker."""
    job = harness.add(command, max_retries=1)
    harness.start()
    worker = harness.worker_pid()
    assert job.wait(timeout=60).state is State.DEAD
    assert harness.outcomes(job) == ["failed"]
    assert harness.add("true").wait(timeout=60).state is State.COMPLETED
    assert harness.worker_pid() == worker


def test_exactly_max_retries_attempts_none_before_run_at(harness: WorkerHarness, tmp_path: Path) -> None:
    """Failing jobs get exactly ``max_retries`` attempts, none of them before ``run_at``."""
    harness.queue.set("backoff_base", 1)
    harness.queue.set("backoff_max", 0.2)
    jobs = [
        harness.add("date +%s.%N; exit 1", max_retries=number % 3 + 1, delay=number % 4 / 10) for number in range(30)
    ]
    due = {job.id: job.run_at for job in jobs}
    harness.start(2)
    harness.queue.wait(timeout=60)
    for number, job in enumerate(jobs):
        history = job.history
        assert len(history) == number % 3 + 1 == job.attempts
        earliest = due[job.id]
        for attempt in history:
            assert isinstance(attempt.stdout, str)
            assert float(attempt.stdout) >= earliest
            assert attempt.finished_at is not None
            earliest = attempt.finished_at + 0.2 - 0.001


def test_order_is_priority_then_age(harness: WorkerHarness, tmp_path: Path) -> None:
    """A worker runs the highest priority first and the oldest among equals."""
    order = tmp_path / "order"
    for name, priority in [("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1)]:
        harness.add(f"echo {name} >> {order}", priority=priority)
    harness.start()
    harness.queue.wait(timeout=60)
    assert order.read_text().split() == ["b", "d", "a", "c", "e"]


def test_higher_priority_preempts_prefetched_jobs(harness: WorkerHarness, tmp_path: Path) -> None:
    """A job of higher priority starts before jobs that are already prefetched."""
    order = tmp_path / "order"
    for number in range(400):
        harness.add(f"echo {number} >> {order}")
    harness.start()
    until(lambda: order.exists() and len(order.read_text().split()) > 50)
    seen = len(order.read_text().split())
    harness.add(f"echo high >> {order}", priority=1)
    harness.queue.wait(timeout=60)
    lines = order.read_text().split()
    assert len(lines) == 401
    assert lines.index("high") - seen < 60  # enqueued while they ran on; those behind it had to wait
    assert lines.index("high") < 400


def test_long_job_does_not_delay_prefetched_jobs(harness: WorkerHarness, tmp_path: Path) -> None:
    """Jobs prefetched behind a long job are released to the other worker at once."""
    go = tmp_path / "go"
    for _ in range(40):
        harness.add("true")
    long = harness.add(f"until [ -e {go} ]; do sleep 0.02; done")
    after = [harness.add("true") for _ in range(40)]
    harness.start(2)
    until(lambda: all(job.state is State.COMPLETED for job in after))
    assert long.state is State.PROCESSING
    go.touch()
    assert long.wait(timeout=60).state is State.COMPLETED


def test_pause_and_resume(harness: WorkerHarness, tmp_path: Path) -> None:
    """No job of a paused queue starts; running jobs continue."""
    first, go = tmp_path / "pid", tmp_path / "go"
    running = harness.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.02; done")
    harness.start()
    read_pid(first)
    harness.queue.pause()
    waiting = harness.add("true")
    go.touch()
    assert running.wait(timeout=60).state is State.COMPLETED
    other = harness.start()
    harness.worker_pid(other.names[0])
    assert waiting.state is State.PENDING
    harness.queue.resume()
    assert waiting.wait(timeout=60).state is State.COMPLETED


def test_workers_run_only_jobs_of_their_queues(harness: WorkerHarness) -> None:
    """``--queue`` limits a worker to these queues."""
    mine, other = harness.add("true", queue="gpu"), harness.add("true", priority=9)
    pool = harness.start(queues=["gpu"], drain=True)
    assert pool.wait(60) == 0
    assert (mine.state, other.state) == (State.COMPLETED, State.PENDING)


def test_drain_waits_for_delayed_jobs_and_retries_but_not_for_paused_queues(harness: WorkerHarness) -> None:
    """``--drain`` ends when all jobs are finished, except those of paused queues."""
    harness.queue.set("backoff_max", 0.2)
    delayed, failing = harness.add("true", delay=0.5), harness.add("exit 1")
    child = harness.add("true", after=[delayed.id])
    harness.queue.pause("later")
    paused = harness.add("true", queue="later")
    pool = harness.start(2, drain=True)
    assert pool.wait(60) == 0
    assert [job.state for job in (delayed, failing, child, paused)] == [
        State.COMPLETED,
        State.DEAD,
        State.COMPLETED,
        State.PENDING,
    ]


def test_dependencies(harness: WorkerHarness, tmp_path: Path) -> None:
    """A job with ``after`` starts when these jobs are completed and is cancelled if one of them is dead."""
    order = tmp_path / "order"
    first = harness.add(f"sleep 0.2; echo first >> {order}")
    dead = harness.add("exit 1", max_retries=1)
    then = harness.add(f"echo then >> {order}", after=[first.id], priority=9)
    never = harness.add("true", after=[first.id, dead.id])
    harness.start(2)
    harness.queue.wait(timeout=60)
    assert order.read_text().split() == ["first", "then"]
    assert (then.state, never.state) == (State.COMPLETED, State.CANCELLED)
    assert dead.id in never.error


def test_worker_names_are_unique_across_pools(harness: WorkerHarness) -> None:
    """Two pools never share a worker name; the name of a stopped worker is free again."""
    first, second = harness.start(2), harness.start(1)
    assert sorted(first.names + second.names) == ["worker-1", "worker-2", "worker-3"]
    first.stop()
    assert harness.start(1).names == ["worker-1"]


def test_stop_workers_of_another_process(harness: WorkerHarness) -> None:
    """``worker stop`` stops the named workers of any pool, waits for them, and they are not restarted."""
    pool = harness.start(2)
    assert harness.queue.stop_workers("worker-2") == ["worker-2"]
    assert [worker["name"] for worker in list_workers(harness.queue.store)] == ["worker-1"]
    with pytest.raises(NotFound, match="worker-2"):
        harness.queue.stop_workers("worker-2")
    assert harness.queue.stop_workers() == ["worker-1"]
    assert pool.wait(60) == 0
    assert harness.queue.stop_workers() == []


STARTER = """
import sys, time
from queuectl_nb import Queue
pool = Queue(sys.argv[1]).start_workers(2, detach=sys.argv[2] == "detach")
print(pool.pid, flush=True)
time.sleep(600)
"""


def start_in_another_process(harness: WorkerHarness, how: str) -> tuple[subprocess.Popen[str], int]:
    """Start workers from another Python process; return it and the pid of the supervisor."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(harness.path), how], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_pool_ends_with_its_starter(harness: WorkerHarness, tmp_path: Path, number: signal.Signals) -> None:
    """However the starter ends, nothing is left after 5 s and the job is released at no cost."""
    harness.queue.set("kill_grace", 60)
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; trap '' TERM; setsid sleep 600 & while :; do sleep 0.1; done")
    process, pool = start_in_another_process(harness, "with")
    shell = read_pid(first)
    process.send_signal(number)
    process.wait(60)
    with within(5, pool):
        until(lambda: not alive(pool))
    assert not alive(shell)
    assert job_processes(harness.path) == []
    assert (job.state, job.attempts, harness.outcomes(job)) == (State.PENDING, 0, ["returned"])


@pytest.mark.skipif(sys.platform != "linux", reason="needs pidfds")
def test_workers_end_with_the_starter_of_a_frozen_supervisor(harness: WorkerHarness, tmp_path: Path) -> None:
    """If the supervisor is frozen when the starter dies, the workers notice by themselves and release their jobs."""
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; trap '' TERM; setsid sleep 600 & while :; do sleep 0.1; done")
    process, pool = start_in_another_process(harness, "with")
    read_pid(first)
    workers = [worker["pid"] for worker in list_workers(harness.queue.store)]
    os.kill(pool, signal.SIGSTOP)
    try:
        process.kill()
        process.wait(60)
        until(lambda: not any(map(alive, workers)))
        assert job_processes(harness.path) == []
        assert (job.refresh().state, job.attempts, harness.outcomes(job)) == (State.PENDING, 0, ["returned"])
    finally:
        os.kill(pool, signal.SIGCONT)
    until(lambda: not alive(pool))
    assert list_workers(harness.queue.store) == []


def test_detached_pool_outlives_its_starter(harness: WorkerHarness, tmp_path: Path) -> None:
    """A pool with ``--detach`` outlives its starter and can be stopped by others."""
    first, go = tmp_path / "pid", tmp_path / "go"
    job = harness.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.02; done")
    process, pool = start_in_another_process(harness, "detach")
    read_pid(first)
    process.kill()
    process.wait(60)
    go.touch()
    assert job.wait(timeout=60).state is State.COMPLETED
    assert harness.add("true").wait(timeout=60).state is State.COMPLETED
    assert len(harness.queue.stop_workers()) == 2
    until(lambda: not alive(pool))


def test_lock_file_that_cannot_be_created_is_reported(harness: WorkerHarness) -> None:
    """If a lock file cannot be created, the starter gets an error with its name."""
    (harness.queue.store.worker_dir / "worker-1.lock").mkdir()
    with pytest.raises(BadEnvironment, match=r"worker-1\.lock: Is a directory"):
        harness.start()


def test_invalid_setting_prevents_a_start(harness: WorkerHarness) -> None:
    """An invalid stored setting is reported by name before any worker starts."""
    with harness.queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('lease', 'banana')")
    with pytest.raises(InvalidSetting, match="lease"):
        harness.start()
    assert list_workers(harness.queue.store) == []


def test_invalid_setting_does_not_stop_running_workers(harness: WorkerHarness) -> None:
    """Running workers keep the last valid value and emit a warning."""
    harness.start()
    harness.add("true").wait(timeout=60)  # the worker is awake: it has read its settings
    with harness.queue.store.db.write() as connection:
        connection.execute("INSERT OR REPLACE INTO settings VALUES ('timeout', 'banana')")
    until(lambda: [each for each in harness.events("warning") if "timeout" in each["text"]])
    harness.queue.unset("timeout")
    assert harness.add("true").wait(timeout=60).state is State.COMPLETED


def test_idle_workers_shrink_the_file(harness: WorkerHarness) -> None:
    """Once no job waits, free pages are given back to the disk, except for some that new jobs will use."""
    queue = harness.queue
    queue.enqueue_many([{"command": f": {'x' * 99_000}"}] * 200)
    queue.cancel(*queue.jobs().index)
    assert queue.prune(0) == 200
    full = queue.path.stat().st_size + (queue.path.with_name("queue.db-wal")).stat().st_size
    assert full > 19_000_000
    harness.start()
    until(lambda: read_space(queue.store.db).free == KEPT_BYTES)
    until(lambda: queue.path.stat().st_size == read_space(queue.store.db).size)
    assert harness.events("warning") == []
