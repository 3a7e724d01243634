"""The pool: it replaces workers that die, ends with whoever started it, and can be stopped from anywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import BadEnvironment, InvalidSetting, NotFound
from queuectl_nb.model.state import State
from tests.engine.harness import alive, job_processes, read_pid, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.harness import WorkerHarness


def test_a_dead_worker_is_replaced_and_its_job_runs_again(harness: WorkerHarness, tmp_path: Path) -> None:
    """Kill -9 of a worker: its job's processes are ended first, the crash costs one attempt, a new worker takes it."""
    pids = tmp_path / "pids"
    harness.queue.set("backoff_max", 0)
    job = harness.add(f"echo $$ >> {pids}; [ $(wc -l < {pids}) -gt 1 ] || {{ setsid sleep 60 & sleep 60; }}")
    harness.start()
    shell = read_pid(pids)
    worker = harness.worker_pid()
    os.kill(worker, signal.SIGKILL)
    killed = time.monotonic()
    job.wait(timeout=20)
    assert time.monotonic() - killed < 10
    assert (job.state, job.attempts, harness.outcomes(job)) == (State.COMPLETED, 2, ["lost", "succeeded"])
    assert not alive(shell)
    assert harness.worker_pid() != worker
    assert harness.events("worker_died", worker="worker-1", why="killed by SIGKILL")
    assert harness.events("rescued", job=job.id, was="worker-1")


def test_death_is_noticed_within_two_seconds(harness: WorkerHarness, tmp_path: Path) -> None:
    """P7: whether worker, or pool and worker together die, another pool has settled the job within 2 seconds."""
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
    killed = time.time()
    job.wait(timeout=20)
    assert harness.outcomes(job) == ["lost"]
    assert job.record.updated_at - killed < 2
    assert job_processes(harness.path) == []


def test_a_job_that_kills_its_worker_ends_in_the_dead_letter_queue(harness: WorkerHarness) -> None:
    """A poison job uses up its own budget, and only its own: the jobs beside it are done."""
    harness.queue.set("backoff_max", 0)
    before = [harness.add("true") for _ in range(20)]
    poison = harness.add("kill -9 $PPID", max_retries=2)
    after = [harness.add("true") for _ in range(20)]
    harness.start(2)
    harness.queue.wait(timeout=40)
    assert (poison.state, harness.outcomes(poison)) == (State.DEAD, ["lost", "lost"])
    assert [job.state for job in before + after] == [State.COMPLETED] * 40
    assert [harness.outcomes(job) for job in before + after] == [["succeeded"]] * 40


def test_a_large_result_survives_the_death_of_its_worker(harness: WorkerHarness) -> None:
    """What a job left as its result is kept whole, however large, when the next job kills the worker at once."""
    harness.queue.set("backoff_max", 0)
    for _ in range(20):
        harness.add("true")
    write = "{ printf '\"'; head -c 60000 /dev/zero | tr '\\0' y; printf '\"'; } > $QUEUECTL_RESULT; echo done"
    large = [harness.add(write) for _ in range(4)]
    harness.add("kill -9 $PPID", max_retries=1)
    harness.start()
    harness.queue.wait(timeout=40)
    assert [harness.outcomes(job) for job in large] == [["succeeded"]] * 4
    assert [job.result for job in large] == ["y" * 60_000] * 4


@pytest.mark.parametrize("command", ["kill 0", "kill -TERM 0; sleep 5", "kill -SEGV $$"])
def test_a_job_that_signals_itself_hurts_only_itself(harness: WorkerHarness, command: str) -> None:
    """Signals to its own group end the job's attempt, not the worker."""
    job = harness.add(command, max_retries=1)
    harness.start()
    worker = harness.worker_pid()
    assert job.wait(timeout=20).state is State.DEAD
    assert harness.outcomes(job) == ["failed"]
    assert harness.add("true").wait(timeout=20).state is State.COMPLETED
    assert harness.worker_pid() == worker


def test_exactly_max_retries_starts_none_before_its_time(harness: WorkerHarness, tmp_path: Path) -> None:
    """P15: failing jobs start as often as they may, and never before their run_at."""
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


def test_priority_then_age(harness: WorkerHarness, tmp_path: Path) -> None:
    """One worker takes the higher priority first, and of equals the older."""
    order = tmp_path / "order"
    for name, priority in [("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1)]:
        harness.add(f"echo {name} >> {order}", priority=priority)
    harness.start()
    harness.queue.wait(timeout=20)
    assert order.read_text().split() == ["b", "d", "a", "c", "e"]


def test_a_better_job_does_not_wait_behind_those_claimed_ahead(harness: WorkerHarness, tmp_path: Path) -> None:
    """While short jobs run in groups, one of higher priority starts after at most the running one and its like."""
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


def test_a_long_job_holds_no_others_back(harness: WorkerHarness, tmp_path: Path) -> None:
    """Jobs claimed behind one that turns out long go to the other worker at once."""
    go = tmp_path / "go"
    for _ in range(40):
        harness.add("true")
    long = harness.add(f"until [ -e {go} ]; do sleep 0.02; done")
    after = [harness.add("true") for _ in range(40)]
    harness.start(2)
    until(lambda: all(job.state is State.COMPLETED for job in after))
    assert long.state is State.PROCESSING
    go.touch()
    assert long.wait(timeout=20).state is State.COMPLETED


def test_pause_stops_new_starts_and_resume_lifts_it(harness: WorkerHarness, tmp_path: Path) -> None:
    """Nothing of a paused queue starts; a running job goes on."""
    first, go = tmp_path / "pid", tmp_path / "go"
    running = harness.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.02; done")
    harness.start()
    read_pid(first)
    harness.queue.pause()
    waiting = harness.add("true")
    go.touch()
    assert running.wait(timeout=20).state is State.COMPLETED
    other = harness.start()
    harness.worker_pid(other.names[0])
    assert waiting.state is State.PENDING
    harness.queue.resume()
    assert waiting.wait(timeout=20).state is State.COMPLETED


def test_workers_of_a_queue_take_only_its_jobs(harness: WorkerHarness) -> None:
    """``--queue`` limits a worker to those queues."""
    mine, other = harness.add("true", queue="gpu"), harness.add("true", priority=9)
    pool = harness.start(queues=["gpu"], drain=True)
    assert pool.wait(20) == 0
    assert (mine.state, other.state) == (State.COMPLETED, State.PENDING)


def test_drain_waits_for_delayed_jobs_and_retries_but_not_for_paused_queues(harness: WorkerHarness) -> None:
    """``--drain`` ends when every job is at rest, those of paused queues aside."""
    harness.queue.set("backoff_max", 0.2)
    delayed, failing = harness.add("true", delay=0.5), harness.add("exit 1")
    child = harness.add("true", after=[delayed.id])
    harness.queue.pause("later")
    paused = harness.add("true", queue="later")
    pool = harness.start(2, drain=True)
    assert pool.wait(30) == 0
    assert [job.state for job in (delayed, failing, child, paused)] == [
        State.COMPLETED,
        State.DEAD,
        State.COMPLETED,
        State.PENDING,
    ]


def test_blocked_jobs_run_after_what_they_wait_for(harness: WorkerHarness, tmp_path: Path) -> None:
    """A job with ``after`` starts when all of those are completed; one that waits for a dead job is cancelled."""
    order = tmp_path / "order"
    first = harness.add(f"sleep 0.2; echo first >> {order}")
    dead = harness.add("exit 1", max_retries=1)
    then = harness.add(f"echo then >> {order}", after=[first.id], priority=9)
    never = harness.add("true", after=[first.id, dead.id])
    harness.start(2)
    harness.queue.wait(timeout=20)
    assert order.read_text().split() == ["first", "then"]
    assert (then.state, never.state) == (State.COMPLETED, State.CANCELLED)
    assert dead.id in never.error


def test_names_are_unique_over_pools(harness: WorkerHarness) -> None:
    """Two terminals never both have a worker-1; a name is free again when its worker has ended."""
    first, second = harness.start(2), harness.start(1)
    assert sorted(first.names + second.names) == ["worker-1", "worker-2", "worker-3"]
    first.stop()
    assert harness.start(1).names == ["worker-1"]


def test_stop_from_another_process_and_nobody_replaces_them(harness: WorkerHarness) -> None:
    """``worker stop`` ends the named workers, wherever they were started, and waits for it."""
    pool = harness.start(2)
    assert harness.queue.stop_workers("worker-2") == ["worker-2"]
    assert [worker["name"] for worker in harness.queue.worker_list()] == ["worker-1"]
    with pytest.raises(NotFound, match="worker-2"):
        harness.queue.stop_workers("worker-2")
    assert harness.queue.stop_workers() == ["worker-1"]
    assert pool.wait(20) == 0
    assert harness.queue.stop_workers() == []


STARTER = """
import sys, time
from queuectl_nb import Queue
pool = Queue(sys.argv[1]).start_workers(2, detach=sys.argv[2] == "detach")
print(pool.pid, flush=True)
time.sleep(600)
"""


def start_elsewhere(harness: WorkerHarness, how: str) -> tuple[subprocess.Popen[str], int]:
    """Start workers from another Python process; return it and the pool's pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(harness.path), how], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_pool_ends_with_whoever_started_it(harness: WorkerHarness, tmp_path: Path, number: signal.Signals) -> None:
    """However the starting process ends, within 5 s nothing is left and the job is given back at no cost."""
    harness.queue.set("kill_grace", 60)
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; trap '' TERM; setsid sleep 600 & while :; do sleep 0.1; done")
    process, pool = start_elsewhere(harness, "with")
    shell = read_pid(first)
    process.send_signal(number)
    process.wait(10)
    ended = time.monotonic()
    until(lambda: not alive(pool), 10)
    assert time.monotonic() - ended < 5
    assert not alive(shell)
    assert job_processes(harness.path) == []
    assert (job.state, job.attempts, harness.outcomes(job)) == (State.PENDING, 0, ["returned"])


def test_detached_pool_outlives_whoever_started_it(harness: WorkerHarness, tmp_path: Path) -> None:
    """``--detach`` goes on after the starter's death, is found by others, and can be stopped by them."""
    first, go = tmp_path / "pid", tmp_path / "go"
    job = harness.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.02; done")
    process, pool = start_elsewhere(harness, "detach")
    read_pid(first)
    process.kill()
    process.wait(10)
    go.touch()
    assert job.wait(timeout=20).state is State.COMPLETED
    assert harness.add("true").wait(timeout=20).state is State.COMPLETED
    assert len(harness.queue.stop_workers()) == 2
    until(lambda: not alive(pool))


def test_a_pool_that_cannot_make_its_files_says_which(harness: WorkerHarness) -> None:
    """Where a lock file cannot be made (a full disk, something in its place) the starter is told, in one line."""
    (harness.queue.store.worker_dir / "worker-1.lock").mkdir()
    with pytest.raises(BadEnvironment, match=r"worker-1\.lock: Is a directory"):
        harness.start()


def test_spoilt_setting_is_told_before_anything_is_started(harness: WorkerHarness) -> None:
    """A setting edited into nonsense keeps workers from starting, by name."""
    with harness.queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('lease', 'banana')")
    with pytest.raises(InvalidSetting, match="lease"):
        harness.start()
    assert harness.queue.worker_list() == []


def test_setting_spoilt_under_running_workers_stops_nobody(harness: WorkerHarness) -> None:
    """Workers go on with the last good value, and say so."""
    harness.start()
    harness.add("true").wait(timeout=20)  # the worker is awake: it has read its settings
    with harness.queue.store.db.write() as connection:
        connection.execute("INSERT OR REPLACE INTO settings VALUES ('timeout', 'banana')")
    until(lambda: [each for each in harness.events("warning") if "timeout" in each["text"]])
    harness.queue.unset("timeout")
    assert harness.add("true").wait(timeout=20).state is State.COMPLETED
