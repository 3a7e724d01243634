"""``worker start``, ``stop`` and ``list`` with real workers: output, signals, ``--detach``, broken pipes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from queuectl_nb.cli import main as console
from queuectl_nb.engine.pool_size import RESERVED_FILES
from tests.engine.harness import until
from tests.journeys.terminals import CONSOLE, environment, unread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.conftest import Ran
    from tests.journeys.terminals import Terminal, Terminals


def enqueue_held_job(terminals: Terminals, tmp_path: Path, job_id: str = "held") -> Path:
    """Enqueue a job that runs until the returned file exists, and wait until it has started."""
    release, started = tmp_path / "release", tmp_path / "started"
    terminals.run(
        "enqueue", "--id", job_id, "--command", f"touch {started}; until [ -e {release} ]; do sleep 0.02; done"
    )
    until(started.exists)
    return release


def test_start_lines(terminals: Terminals) -> None:
    """The first lines are fixed; draining an empty queue exits with 0."""
    terminal = terminals.open("worker", "start", "--count", "3", "--drain")
    assert terminal.wait() == 0
    assert terminal.lines[:2] == ["Starting 3 worker(s)...", "3 worker(s) started."]
    start_lines = [line for line in terminal.lines if line.endswith("Starting...")]
    assert sorted(start_lines) == [f"[worker-{number}] Starting..." for number in (1, 2, 3)]


def open_started(terminals: Terminals, prefix: tuple[str, ...] = ()) -> Terminal:
    """Start a worker in a terminal, and wait until signals are forwarded; a job may run before that."""
    terminal = terminals.open("worker", "start", prefix=prefix)
    terminal.wait_for_line("worker(s) started.")
    return terminal


def test_first_interrupt_is_graceful(terminals: Terminals, tmp_path: Path) -> None:
    """After Ctrl+C the running job completes and no other is started; stderr explains the second Ctrl+C."""
    terminal = open_started(terminals)
    release = enqueue_held_job(terminals, tmp_path)
    terminals.run("enqueue", "--id", "next", "--command", "true")
    terminal.interrupt()
    terminal.wait_for_line("press Ctrl+C again")
    release.touch()
    assert terminal.wait() == 0
    states = {job["id"]: job["state"] for job in terminals.run_json("list")}
    assert states == {"held": "completed", "next": "pending"}


def test_second_interrupt_gives_the_job_back(terminals: Terminals, tmp_path: Path) -> None:
    """After the second Ctrl+C the job is killed and pending again without a used attempt."""
    terminal = open_started(terminals)
    enqueue_held_job(terminals, tmp_path)
    terminal.interrupt()
    terminal.wait_for_line("press Ctrl+C again")
    terminal.interrupt()
    assert terminal.wait() == 0
    job = terminals.run_json("show", "held")
    assert (job["state"], job["attempts"], job["history"][0]["outcome"]) == ("pending", 0, "returned")
    assert terminal.wait_for_line("-> Error: returned: its worker was stopped")
    assert "[worker-1]   -> Status: RETURNED" in terminal.lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_gives_the_job_back(number: int, terminals: Terminals, tmp_path: Path) -> None:
    """SIGTERM and SIGHUP stop the workers at once and return the job."""
    terminal = open_started(terminals)
    enqueue_held_job(terminals, tmp_path)
    os.kill(terminal.process.pid, number)
    assert terminal.wait() == 0
    assert terminals.run_json("show", "held")["attempts"] == 0
    assert terminals.run_json("worker", "list") == []


def test_termination_during_the_start(terminals: Terminals) -> None:
    """SIGTERM before the workers are ready stops them, too: when the command has ended, nothing of it is left."""
    terminal = terminals.open("worker", "start")
    console = psutil.Process(terminal.process.pid)
    (supervisor,) = until(console.children)
    until(lambda: console.num_threads() > 1)  # it reads the events of the supervisor, which it has started
    console.terminate()
    assert terminal.wait() == 128 + signal.SIGTERM
    assert not supervisor.is_running()


def test_ignored_hangup_stays_ignored(terminals: Terminals, tmp_path: Path) -> None:
    """Under nohup neither the console nor its supervisor ends with the terminal."""
    terminal = open_started(terminals, prefix=("nohup",))
    release = enqueue_held_job(terminals, tmp_path)
    console = psutil.Process(terminal.process.pid)
    (supervisor,) = console.children()
    for process in (console, supervisor):
        process.send_signal(signal.SIGHUP)
    console.send_signal(signal.SIGINT)  # handled after the hangup
    terminal.wait_for_line("press Ctrl+C again")
    release.touch()
    assert terminal.wait() == 0
    assert terminals.run_json("show", "held")["state"] == "completed"


@pytest.mark.parametrize("limit", [16, RESERVED_FILES + 1, RESERVED_FILES + 2, 64])
def test_limit_of_open_files(terminals: Terminals, limit: int) -> None:
    """As many workers start as fit, or none with exit code 3 and one line that names the limit."""
    terminals.run("enqueue", "--id", "a", "--command", "true")
    terminals.run("enqueue", "--id", "killer", "--max-retries", "1", "--command", "kill -9 $PPID; sleep 60")
    command = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh")
    terminal = terminals.open("worker", "start", "--count", "50", "--drain", prefix=command)
    code = terminal.wait(60)
    terminal.wait_for_line(f"'ulimit -n' is {limit}")
    if limit < RESERVED_FILES + 2:
        assert (code, len(terminal.lines)) == (3, 1)
    else:
        states = [terminals.run_json("show", name)["state"] for name in ("a", "killer")]
        assert (code, states) == (0, ["completed", "dead"]), "there are enough files to replace a worker"
        assert terminal.lines[1] == f"{(limit - RESERVED_FILES) // 2} worker(s) started."


@pytest.mark.parametrize("error", [MemoryError(), ImportError("x.so: failed to map segment from shared object")])
def test_limit_of_memory(error: Exception, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory, also for the message, is exit code 3 and one line."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "Popen", fail)
    monkeypatch.setitem(sys.modules, "queuectl_nb.render.text_table", None)  # importing it fails, too
    ran = run("worker", "start")
    assert ran.exit_code == 3
    assert ran.stderr == "queuectl: not enough memory; raise 'ulimit -v' or the limit of the container\n"


@pytest.mark.parametrize("what", ["process", "thread"])
def test_limit_of_processes(what: str, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """If no process or thread can be started, one line says which limit to raise, with exit code 3."""

    def fail(*_: object, **__: object) -> None:
        if what == "process":
            raise BlockingIOError(11, "Resource temporarily unavailable")
        msg = "can't start new thread"
        raise RuntimeError(msg)

    if what == "process":
        monkeypatch.setattr(subprocess, "Popen", fail)
    else:
        monkeypatch.setattr("threading.Thread.start", fail)
    ran = run("worker", "start")
    assert ran.exit_code == 3
    assert ran.stderr == (
        f"queuectl: cannot start another {what}; raise 'ulimit -u' or the limit of the container (pids.max)\n"
    )


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
@pytest.mark.parametrize("limit", [2, 5, 12])
def test_real_limit_of_processes(terminals: Terminals, limit: int) -> None:
    """As many workers start as the limit has room for, with their jobs; or none with exit code 3 and one line."""
    terminals.run("enqueue", "--id", "a", "--command", "true; true")
    command = (
        *("setpriv", "--ruid=54321", "--bounding-set=-sys_resource,-sys_admin"),  # the limit does not apply to root
        *("prlimit", f"--nproc={limit}"),
    )
    terminal = terminals.open("worker", "start", "--count", "50", "--drain", prefix=command)
    code = terminal.wait(60)
    terminal.wait_for_line("raise 'ulimit -u' or the limit of the container (pids.max)")
    if limit < 8:
        assert (code, len(terminal.lines)) == (3, 1)
    else:
        assert (code, terminals.run_json("show", "a")["state"]) == (0, "completed")
        assert terminal.lines[1] in {"1 worker(s) started.", "2 worker(s) started."}


def test_detach(terminals: Terminals) -> None:
    """``--detach`` returns while the workers run; ``worker stop`` stops them and says how many."""
    said = terminals.run_process("worker", "start", "--count", "2", "--detach")
    assert said.splitlines()[:2] == ["Starting 2 worker(s)...", "2 worker(s) started."]
    try:
        workers = terminals.run_json("worker", "list")
        assert [worker["name"] for worker in workers] == ["worker-1", "worker-2"]
        assert all(psutil.pid_exists(worker["pid"]) for worker in workers)
        terminals.run("enqueue", "--id", "a", "--command", "true")
        terminals.run("wait", "a", "--timeout", "30")
        assert terminals.run("worker", "stop", "worker-2") == "1 worker(s) stopped.\n"
        terminals.run("worker", "stop", "worker-2", code=5)
    finally:
        assert terminals.run("worker", "stop") == "1 worker(s) stopped.\n"
    assert terminals.run_json("worker", "list") == []
    terminals.run("worker", "stop")


def test_stop_now_gives_jobs_back(terminals: Terminals, tmp_path: Path) -> None:
    """``worker stop --now`` gives running jobs back; no worker is restarted."""
    terminal = open_started(terminals)
    enqueue_held_job(terminals, tmp_path)
    (worker,) = terminals.run_json("worker", "list")
    assert (worker["state"], worker["job_id"]) == ("busy", "held")
    assert terminals.run("worker", "stop", "--now") == "1 worker(s) stopped.\n"
    assert terminal.wait() == 0
    assert terminals.run_json("show", "held")["attempts"] == 0


def test_stop_shows_what_it_waits_for(terminals: Terminals, tmp_path: Path, run: Callable[..., Ran]) -> None:
    """On a terminal ``worker stop`` names the workers that it waits for; stdout has the result only."""
    terminal = open_started(terminals)
    release = enqueue_held_job(terminals, tmp_path)
    notify = console._notify

    def release_job(text: str) -> None:
        """Let the job end once its end was waited for aloud."""
        notify(text)
        release.touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "_notify", release_job)
        ran = run("worker", "stop", terminal=True)
    assert ran.stdout == "1 worker(s) stopped.\n"
    assert ran.stderr == "queuectl: waiting for worker-1 to stop; use --now to return their jobs to the queue\n"
    assert terminal.wait() == 0


def test_queue_option(terminals: Terminals) -> None:
    """With ``--queue`` jobs of other queues stay pending and do not delay a drain."""
    for name in ("gpu", "cpu", "net"):
        terminals.run("enqueue", "--id", name, "--command", "true", "--queue", name)
    assert terminals.open("worker", "start", "--queue", "gpu", "--queue", "net", "--drain").wait() == 0
    states = {job["id"]: job["state"] for job in terminals.run_json("list")}
    assert states == {"gpu": "completed", "net": "completed", "cpu": "pending"}


def test_no_lines_are_lost(terminals: Terminals) -> None:
    """No line is lost, at thousands of lines a second, while the reader keeps up."""
    lines = "".join(f'{{"command": "echo {number}"}}\n' for number in range(1000))
    subprocess.run(
        [*CONSOLE, "enqueue", "--from", "-"], input=lines, text=True, check=True, env=environment(terminals.queue)
    )
    terminal = terminals.open("worker", "start", "--count", "2", "--drain")
    assert terminal.wait(60) == 0
    numbers = {found[1] for line in terminal.lines if (found := re.search(r"-> stdout: (\d+)$", line))}
    assert len(numbers) == 1000
    assert sum("Status: SUCCESS" in line for line in terminal.lines) == 1000


def test_lines_of_a_job_stay_together(terminals: Terminals) -> None:
    """The lines of each job are consecutive, however short the jobs are."""
    lines = "".join(f'{{"id": "n{number}", "command": "echo {number}"}}\n' for number in range(200))
    subprocess.run(
        [*CONSOLE, "enqueue", "--from", "-"], input=lines, text=True, check=True, env=environment(terminals.queue)
    )
    terminal = terminals.open("worker", "start", "--drain")
    assert terminal.wait(60) == 0
    begin = terminal.lines.index("[worker-1] Starting...") + 1
    expected = [
        line
        for number in range(200)
        for line in (
            f"[worker-1] --- STARTING Job: n{number} (Attempt 1 of 3) ---",
            f"[worker-1]   -> Command: echo {number}",
            "[worker-1]   -> Status: SUCCESS",
            f"[worker-1]   -> stdout: {number}",
            f"[worker-1] --- FINISHED Job: n{number} ---",
        )
    ]
    assert terminal.lines[begin : begin + 1000] == expected


def test_long_texts_are_shortened(terminals: Terminals) -> None:
    """Long commands and outputs are cut and end with an ellipsis."""
    terminals.run("enqueue", "--command", f": {'x' * 400}; printf '{'é' * 500}'")
    terminal = terminals.open("worker", "start", "--drain")
    assert terminal.wait() == 0
    (command,) = [line for line in terminal.lines if "-> Command: " in line]
    (output,) = [line for line in terminal.lines if "-> stdout: " in line]
    assert command.endswith("xxx...")
    assert output.endswith(f"{'é' * 400}...")


def test_broken_pipe(terminals: Terminals, queue: Queue) -> None:
    """With a closed pipe (``worker start | head``) lines are lost, work is not."""
    terminals.run("enqueue", "--command", "true")
    terminals.run("enqueue", "--command", "true")
    process = subprocess.Popen(
        [*CONSOLE, "worker", "start", "--drain"],
        env=environment(terminals.queue),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process:
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()
    assert {str(state): n for state, n in queue.store.reader.counts().items() if n} == {"completed": 2}


@pytest.mark.parametrize("stderr", [subprocess.DEVNULL, subprocess.STDOUT])
def test_output_that_is_not_read(terminals: Terminals, stderr: int) -> None:
    """Output that nobody reads, as in a paused pager, delays neither jobs nor a stop."""
    terminals.run("enqueue", "--id", "job", "--command", "true")
    with unread(terminals.queue, "worker", "start", stderr=stderr) as (process, _):
        terminals.run("wait", "job")

        def has_ended() -> bool:  # Python handles a signal that comes just before the write only after the next one
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
            return process.returncode is not None

        until(has_ended)


def test_output_cannot_forge_lines(terminals: Terminals) -> None:
    """Control characters in a command or its output are escaped, and each line carries the worker's name."""
    terminals.run("enqueue", "--command", "printf 'a\\n\\033[2Jb\\r[worker-9] forged'; exit 1", "--max-retries", "1")
    terminal = terminals.open("worker", "start", "--drain")
    assert terminal.wait() == 0
    assert "[worker-1]   -> stdout: a" in terminal.lines
    assert "[worker-1]   -> stdout: \\x1b[2Jb\\r[worker-9] forged" in terminal.lines
    assert not [line for line in terminal.lines if line.startswith("[worker-9]")]
    assert "[worker-1]   -> stderr: Command failed: exit code 1" in terminal.lines


def test_killed_pool(terminals: Terminals) -> None:
    """A killed pool is exit code 3 and one line."""
    terminal = open_started(terminals)
    terminal.wait_for_line("[worker-1] Starting...")
    (pool,) = psutil.Process(terminal.process.pid).children()
    pool.kill()
    assert terminal.wait() == 3
    assert terminal.wait_for_line("killed by SIGKILL")
