"""The five test flows of the original's README, typed as written there, ``sleep N`` in place of ``ping -n N``."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.engine.harness import until

if TYPE_CHECKING:
    from tests.journeys.terminals import Terminals


def test_flow_1_the_happy_path(desk: Terminals) -> None:
    """A job is enqueued, run, listed as completed, and its output is in the log."""
    terminal = desk.open("worker", "start")
    assert terminal.sees("1 worker(s) started.")
    said = desk.type("enqueue", "--id", "job-success", "--command", "echo 'This job worked'")
    assert said == "Job enqueued: job-success (priority: 0)\n"
    terminal.sees("[worker-1] --- STARTING Job: job-success (Attempt 1 of 3) ---")
    terminal.sees("[worker-1]   -> Command: echo 'This job worked'")
    terminal.sees("[worker-1]   -> Status: SUCCESS")
    terminal.sees("[worker-1]   -> stdout: This job worked")
    terminal.sees("[worker-1] --- FINISHED Job: job-success ---")
    assert "job-success" in desk.type("list", "--state", "completed")
    log = desk.type("log", "job-success")
    assert "Logs for Job: job-success\nState: completed\n" in log
    assert "--- STDOUT ---\nThis job worked\n" in log
    assert "--- STDERR ---\n(empty)\n" in log


def test_flow_2_failure_retry_backoff_and_dead_letter_queue(desk: Terminals) -> None:
    """A job fails three times with growing waits, is dead, and can be sent round again."""
    terminal = desk.open("worker", "start")
    desk.type("enqueue", "--id", "job-fail", "--command", "this-command-does-not-exist")
    terminal.sees("--- STARTING Job: job-fail (Attempt 1 of 3) ---")
    terminal.sees("-> Status: FAILED")
    terminal.sees("-> stderr:", "this-command-does-not-exist")
    terminal.sees("-> ACTION: Retrying. Next run at ")
    assert "job-fail" in desk.type("list", "--state", "failed")
    terminal.sees("-> ACTION: Moving to DLQ (Max retries reached).")
    history = desk.data("show", "job-fail")["history"]
    assert [attempt["outcome"] for attempt in history] == ["failed"] * 3
    assert {attempt["exit_code"] for attempt in history} == {127}
    assert "job-fail" in desk.type("dlq", "list")
    assert desk.type("dlq", "retry", "job-fail") == "Job job-fail moved back to queue for retry.\n"
    until(lambda: len(desk.data("show", "job-fail")["history"]) > 3)
    assert desk.data("show", "job-fail")["attempts"] == 1


def test_flow_3_concurrency_and_priority(desk: Terminals) -> None:
    """Two terminals work at the same time; the high priority runs as soon as one of them is free."""
    first, second = desk.open("worker", "start"), desk.open("worker", "start")
    first.sees("started")
    second.sees("started")
    for number in (1, 2):
        desk.type("enqueue", "--id", f"job-low-{number}", "--command", "sleep 3", "--priority", "1")
    until(lambda: desk.data("status")["counts"]["processing"] == 2)
    assert {worker["name"] for worker in desk.data("worker", "list")} == {"worker-1", "worker-2"}
    desk.type("enqueue", "--id", "job-later", "--command", "true", "--priority", "2")
    desk.type("enqueue", "--id", "job-high", "--command", "echo 'I AM HIGH PRIORITY'", "--priority", "100")
    desk.type("wait", "--timeout", "30")
    jobs = {job["id"]: job for job in desk.data("list")}
    assert jobs["job-high"]["started_at"] >= min(jobs[f"job-low-{number}"]["finished_at"] for number in (1, 2))
    assert jobs["job-high"]["started_at"] < jobs["job-later"]["started_at"]


def test_flow_4_config_scheduling_and_timeout(desk: Terminals) -> None:
    """Settings are live, a delay is kept, and a job that runs too long is ended."""
    terminal = desk.open("worker", "start")
    terminal.sees("started")
    assert desk.type("config", "set", "backoff_base", "10") == "Config updated: backoff_base = 10\n"
    said = desk.type("enqueue", "--id", "job-delayed", "--command", "echo 'I am late'", "--delay", "2")
    assert said == "Job enqueued: job-delayed (priority: 0). Will run after 2 seconds.\n"
    desk.type("config", "set", "timeout", "1")
    desk.type("enqueue", "--id", "job-timeout", "--command", "sleep 40")
    terminal.sees("--- STARTING Job: job-timeout")
    terminal.sees("-> Status: FAILED")
    terminal.sees("-> stderr:", "timed out after 1 seconds")
    terminal.sees("Next run at")
    failed = desk.data("show", "job-timeout")
    assert failed["state"] == "failed"
    assert failed["history"][0]["outcome"] == "timed_out"
    terminal.sees("--- FINISHED Job: job-delayed ---")
    late = desk.data("show", "job-delayed")
    assert late["started_at"] >= late["run_at"]


def test_flow_5_persistence_and_stale_job_recovery(desk: Terminals) -> None:
    """A worker that crashes with its pool leaves a stuck job; the next one rescues it, and its processes are gone."""
    terminal = desk.open("worker", "start")
    desk.type("enqueue", "--id", "job-long", "--command", "sleep 40")
    terminal.sees("[worker-1] --- STARTING Job: job-long")
    until(lambda: desk.data("show", "job-long")["history"][0]["pid"])
    shell = desk.data("show", "job-long")["history"][0]["pid"]
    (worker,) = desk.data("worker", "list")
    pool = parent_of(worker["pid"])
    os.kill(pool, signal.SIGSTOP)
    os.kill(worker["pid"], signal.SIGKILL)
    os.kill(pool, signal.SIGKILL)
    terminal.ends()
    assert "job-long" in desk.type("list", "--state", "processing")
    assert desk.data("worker", "list")[0]["state"] == "lost"
    again = desk.open("worker", "start")
    again.sees("[worker-1] Rescuing stale job: job-long (was locked by worker-1)")
    again.sees("--- STARTING Job: job-long (Attempt 2 of 3) ---")
    history = desk.data("show", "job-long")["history"]
    assert history[0]["outcome"] == "lost"
    assert history[1]["pid"] != shell


def parent_of(pid: int) -> int:
    """Return the parent of a process."""
    import psutil

    return int(psutil.Process(pid).ppid())


def test_ctrl_c_once_lets_the_job_finish_twice_gives_it_back(desk: Terminals) -> None:
    """The first Ctrl+C waits for the running job, the second gives it back at no cost; the exit is in good order."""
    terminal = desk.open("worker", "start")
    desk.type("enqueue", "--id", "slow", "--command", "sleep 2")
    terminal.sees("STARTING Job: slow")
    terminal.press_ctrl_c()
    assert terminal.ends() == 0
    assert desk.data("show", "slow")["state"] == "completed"

    terminal = desk.open("worker", "start")
    desk.type("enqueue", "--id", "slower", "--command", "sleep 40", "--timeout", "0")
    terminal.sees("STARTING Job: slower")
    terminal.press_ctrl_c()
    terminal.sees("Ctrl+C once more")
    terminal.press_ctrl_c()
    assert terminal.ends() == 0
    job = desk.data("show", "slower")
    assert (job["state"], job["attempts"], job["history"][0]["outcome"]) == ("pending", 0, "returned")
    assert desk.data("worker", "list") == []
