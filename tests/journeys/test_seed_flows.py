"""The five flows of the original README, with ``sleep N`` instead of ``ping -n N``; the first in processes only."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.engine.harness import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.journeys.terminals import Terminals


def test_flow_1_the_happy_path(terminals: Terminals) -> None:
    """A job runs, is listed as completed and has its output in the log."""
    terminal = terminals.open("worker", "start")
    assert terminal.wait_for_line("1 worker(s) started.")
    output = terminals.run_process("enqueue", "--id", "job-success", "--command", "echo 'This job worked'")
    assert output == "Job enqueued: job-success (priority: 0)\n"
    terminal.wait_for_line("[worker-1] --- STARTING Job: job-success (Attempt 1 of 3) ---")
    terminal.wait_for_line("[worker-1]   -> Command: echo 'This job worked'")
    terminal.wait_for_line("[worker-1]   -> Status: SUCCESS")
    terminal.wait_for_line("[worker-1]   -> stdout: This job worked")
    terminal.wait_for_line("[worker-1] --- FINISHED Job: job-success ---")
    assert "job-success" in terminals.run_process("list", "--state", "completed")
    log = terminals.run_process("log", "job-success")
    assert "Logs for Job: job-success\nState: completed\n" in log
    assert "--- STDOUT ---\nThis job worked\n" in log
    assert "--- STDERR ---\n(empty)\n" in log


def test_flow_2_failure_retry_backoff_and_dead_letter_queue(terminals: Terminals) -> None:
    """A job fails three times with growing delays, is dead, and can be retried."""
    terminal = terminals.open("worker", "start")
    terminals.run("enqueue", "--id", "job-fail", "--command", "this-command-does-not-exist")
    terminal.wait_for_line("--- STARTING Job: job-fail (Attempt 1 of 3) ---")
    terminal.wait_for_line("-> Status: FAILED")
    terminal.wait_for_line("-> stderr:", "this-command-does-not-exist")
    terminal.wait_for_line("-> ACTION: Retrying. Next run at ")
    assert "job-fail" in terminals.run("list", "--state", "failed")
    terminal.wait_for_line("-> ACTION: Moving to DLQ (Max retries reached).")
    history = terminals.run_json("show", "job-fail")["history"]
    assert [attempt["outcome"] for attempt in history] == ["failed"] * 3
    assert {attempt["exit_code"] for attempt in history} == {127}
    assert "job-fail" in terminals.run("dlq", "list")
    terminals.run("config", "set", "backoff_base", "1000")  # so that the first attempt of the new budget stays the last
    assert terminals.run("dlq", "retry", "job-fail") == "Job job-fail moved back to queue for retry.\n"
    until(lambda: len(terminals.run_json("show", "job-fail")["history"]) > 3)
    assert terminals.run_json("show", "job-fail")["attempts"] == 1


def test_flow_3_concurrency_and_priority(terminals: Terminals, tmp_path: Path) -> None:
    """Two terminals run jobs concurrently; a job of high priority runs as soon as a worker is free."""
    first, second = terminals.open("worker", "start"), terminals.open("worker", "start")
    first.wait_for_line("started")
    second.wait_for_line("started")
    for number in (1, 2):
        command = f"until [ -e {tmp_path}/end-{number} ]; do sleep 0.1; done"
        terminals.run("enqueue", "--id", f"job-low-{number}", "--command", command, "--priority", "1")
    until(lambda: terminals.run_json("status")["counts"]["processing"] == 2)
    assert {worker["name"] for worker in terminals.run_json("worker", "list")} == {"worker-1", "worker-2"}
    terminals.run("enqueue", "--id", "job-later", "--command", "true", "--priority", "2")
    terminals.run("enqueue", "--id", "job-high", "--command", "echo 'I AM HIGH PRIORITY'", "--priority", "100")
    (tmp_path / "end-1").touch()
    terminals.run("wait", "job-high", "job-later", "--timeout", "30")
    (tmp_path / "end-2").touch()
    terminals.run("wait", "--timeout", "30")
    jobs = {job["id"]: job for job in terminals.run_json("list")}
    assert jobs["job-high"]["started_at"] >= min(jobs[f"job-low-{number}"]["finished_at"] for number in (1, 2))
    assert jobs["job-high"]["started_at"] < jobs["job-later"]["started_at"]


def test_flow_4_config_scheduling_and_timeout(terminals: Terminals) -> None:
    """Settings apply at once, a delayed job waits, and a job that runs too long times out."""
    terminal = terminals.open("worker", "start")
    terminal.wait_for_line("started")
    assert terminals.run("config", "set", "backoff_base", "10") == "Config updated: backoff_base = 10\n"
    output = terminals.run("enqueue", "--id", "job-delayed", "--command", "echo 'I am late'", "--delay", "2")
    assert output == "Job enqueued: job-delayed (priority: 0). Will run after 2 seconds.\n"
    terminals.run("config", "set", "timeout", "1")
    terminals.run("enqueue", "--id", "job-timeout", "--command", "sleep 40")
    terminal.wait_for_line("--- STARTING Job: job-timeout")
    terminal.wait_for_line("-> Status: FAILED")
    terminal.wait_for_line("-> stderr:", "timed out after 1 seconds")
    terminal.wait_for_line("Next run at")
    failed = terminals.run_json("show", "job-timeout")
    assert failed["state"] == "failed"
    assert failed["history"][0]["outcome"] == "timed_out"
    terminal.wait_for_line("--- FINISHED Job: job-delayed ---")
    late = terminals.run_json("show", "job-delayed")
    assert late["started_at"] >= late["run_at"]


def test_flow_5_persistence_and_stale_job_recovery(terminals: Terminals) -> None:
    """The job of a worker that crashes with its supervisor is rescued by the next one."""
    terminal = terminals.open("worker", "start")
    terminals.run("enqueue", "--id", "job-long", "--command", "sleep 40")
    terminal.wait_for_line("[worker-1] --- STARTING Job: job-long")
    until(lambda: terminals.run_json("show", "job-long")["history"][0]["pid"])
    shell = terminals.run_json("show", "job-long")["history"][0]["pid"]
    (worker,) = terminals.run_json("worker", "list")
    pool = parent_of(worker["pid"])
    os.kill(pool, signal.SIGSTOP)
    os.kill(worker["pid"], signal.SIGKILL)
    os.kill(pool, signal.SIGKILL)
    terminal.wait()
    assert "job-long" in terminals.run("list", "--state", "processing")
    assert terminals.run_json("worker", "list")[0]["state"] == "lost"
    again = terminals.open("worker", "start")
    again.wait_for_line("[worker-1] Rescuing stale job: job-long (was locked by worker-1)")
    again.wait_for_line("--- STARTING Job: job-long (Attempt 2 of 3) ---")
    history = terminals.run_json("show", "job-long")["history"]
    assert history[0]["outcome"] == "lost"
    assert history[1]["pid"] != shell


def parent_of(pid: int) -> int:
    """Return the parent pid of a process."""
    import psutil

    return int(psutil.Process(pid).ppid())


def test_ctrl_c_once_drains_twice_releases_the_job(terminals: Terminals) -> None:
    """The first Ctrl+C waits for the running job, the second releases it at no cost; both exit with code 0."""
    terminal = terminals.open("worker", "start")
    terminals.run("enqueue", "--id", "slow", "--command", "sleep 2")
    terminal.wait_for_line("STARTING Job: slow")
    terminal.interrupt()
    assert terminal.wait() == 0
    assert terminals.run_json("show", "slow")["state"] == "completed"

    terminal = terminals.open("worker", "start")
    terminals.run("enqueue", "--id", "slower", "--command", "sleep 40", "--timeout", "0")
    terminal.wait_for_line("STARTING Job: slower")
    terminal.interrupt()
    terminal.wait_for_line("press Ctrl+C again")
    terminal.interrupt()
    assert terminal.wait() == 0
    job = terminals.run_json("show", "slower")
    assert (job["state"], job["attempts"], job["history"][0]["outcome"]) == ("pending", 0, "returned")
    assert terminals.run_json("worker", "list") == []
