"""``run``: a job in the foreground, with the command's output and exit code, signals, and a worker of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client.run import ForegroundJob
from queuectl_nb.client.workers import list_workers
from queuectl_nb.model.errors import BadEnvironment
from tests.engine.harness import until
from tests.journeys.terminals import CONSOLE, environment, in_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran

LONG = "echo begun; sleep 60"


@pytest.fixture(autouse=True)
def _no_worker_is_left(queue: Queue) -> Iterator[None]:
    yield
    queue.stop_workers(now=True)


def wait_until_stopped(queue: Queue) -> None:
    """Wait until no worker is registered."""
    until(lambda: not list_workers(queue.store))


@pytest.mark.parametrize(
    ("command", "options", "code", "error"),
    [
        ("true", (), 0, None),
        ("exit 7", (), 7, "exit code 7"),
        ("exit 255", (), 255, "exit code 255"),
        ("kill -9 $$", (), 137, "killed by SIGKILL"),
        ("kill -35 $$", (), 163, "killed by SIG35"),
        ("sleep 60", ("--timeout", "0.2"), 124, "timed out after 0.2 seconds"),
        ("true", ("--env", "A=b", "--tag", "t", "-q", "gpu", "-p", "3"), 0, None),
    ],
)
def test_exit_codes(
    command: str, options: tuple[str, ...], code: int, error: str | None, run: Callable[..., Ran], queue: Queue
) -> None:
    """The exit code is that of a shell that had run the command; the worker that was started for it ends."""
    ran = run("run", "--id", "a", *options, "-c", command)
    assert (ran.exit_code, ran.stdout) == (code, "")
    assert "queuectl: Job enqueued: a (priority: " in ran.stderr
    notes = [line for line in ran.stderr.splitlines() if " is dead: " not in line]
    assert notes[-1].startswith("queuectl: started worker-1 for queue ")
    assert ("queuectl: Times out after 30 s" in ran.stderr) == ("--timeout" not in options)
    assert error is None or f"queuectl: job a is dead: {error}" in ran.stderr
    wait_until_stopped(queue)


def test_output(run: Callable[..., Ran]) -> None:
    """Both streams are passed on, bytes unchanged in a pipe, with the words as they were given."""
    ran = run("run", "--", "sh", "-c", r"printf '\033[2Ja\000b'; printf 'c\n' >&2")
    assert ran.out == b"\x1b[2Ja\0b"
    assert ran.stderr.splitlines()[-1] == "c"


def test_a_terminal_gets_colours_and_no_other_escapes(run: Callable[..., Ran]) -> None:
    """A terminal gets colours and carriage returns only; a message begins on a line of its own."""
    ran = run("run", "-c", r"printf '\033[2J\033[31mred\rnow'; exit 3", terminal=True)
    assert ran.stdout == "\x1b[31mred\rnow\x1b[0m"
    assert "\nqueuectl: job job-1 is dead: exit code 3" in ran.stderr


def test_one_attempt_by_default(run: Callable[..., Ran], queue: Queue) -> None:
    """A command that fails in the foreground is not repeated, unless the job says so."""
    assert run("run", "--id", "a", "-c", "exit 4").exit_code == 4
    assert (queue.job("a").attempts, queue.job("a").max_retries) == (1, 1)
    queue.set("backoff_max", 0)
    assert run("run", '{"id": "b", "command": "exit 4", "max_retries": 2}').exit_code == 4
    assert queue.job("b").attempts == 2


def test_retries_are_told(run: Callable[..., Ran], queue: Queue) -> None:
    """The output of each attempt is shown, and why there is another one."""
    queue.set("backoff_max", 0)
    ran = run("run", "--max-retries", "2", "-c", "echo try $QUEUECTL_ATTEMPT; exit 4")
    assert (ran.exit_code, ran.stdout) == (4, "try 1\ntry 2\n")
    assert "queuectl: attempt 1 did not succeed (exit code 4); this is attempt 2\n" in ran.stderr


def test_attempts_that_end_before_they_are_followed(queue: Queue) -> None:
    """The output of the first attempt is shown also if the job has finished before it is read."""
    queue.set("backoff_max", 0)
    job = queue.enqueue("echo try $QUEUECTL_ATTEMPT; exit 4", max_retries=2)
    with queue.start_workers(1):
        job.wait(timeout=60)
    assert [data for _, data in ForegroundJob(queue, job.id).chunks()] == [b"try 1\n", b"try 2\n"]


def test_only_new_attempts_of_a_key_are_shown(run: Callable[..., Ran]) -> None:
    """A job that runs again shows what it prints now; one that has completed shows what it printed."""
    command = "echo try $QUEUECTL_ATTEMPT; [ $QUEUECTL_ATTEMPT = 2 ]"
    shown = [run("run", "--key", "work", "-c", command).stdout for _ in range(3)]
    assert shown == ["try 1\n", "try 2\n", "try 2\n"]


def test_a_job_that_never_starts(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """A job whose dependency is dead is reported; the code is 1."""
    manual_worker.add("before", max_retries=1)
    manual_worker.exhaust("before")
    ran = run("run", "--after", "bef", "-c", "true")
    assert ran.exit_code == 1
    assert "is cancelled: " in ran.stderr


def test_no_worker_can_be_started(run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what becomes of the job, which was added before."""

    def fail(*_: object, **__: object) -> None:
        raise BadEnvironment("too few open files")

    monkeypatch.setattr("queuectl_nb.client.pool.WorkerPool.start", fail)
    ran = run("run", "--id", "a", "--", "true")
    assert ran.exit_code == 3
    assert ran.stderr.endswith("queuectl: too few open files; job a stays pending\n")
    assert queue.job("a").state == "pending"


def test_words_without_dashes(run: Callable[..., Ran], queue: Queue) -> None:
    """The missing ``--`` is named as for ``enqueue``, and nothing is enqueued."""
    ran = run("run", "python", "train.py", "--lr", "0.1")
    assert (ran.exit_code, queue.jobs().empty) == (2, True)
    assert "put -- before the command: queuectl run -- python train.py --lr 0.1" in ran.stderr


def test_another_worker_is_used(run: Callable[..., Ran], queue: Queue) -> None:
    """No worker is started where one takes jobs of the queue, and that one goes on; one for another queue does not."""
    queue.start_workers(queues=["gpu"])
    assert "started" not in run("run", "-q", "gpu", "-c", "true").stderr
    assert "started worker-2 for queue default" in run("run", "-c", "true").stderr
    until(lambda: [worker["name"] for worker in list_workers(queue.store)] == ["worker-1"])


def test_a_worker_that_goes_away_is_replaced(queue: Queue) -> None:
    """A job that waits gets a worker when the one that served its queue is gone, as that of another ``run`` may be."""
    pool = queue.start_workers()
    busy = queue.enqueue("sleep 60")
    until(lambda: busy.refresh().state == "processing")
    job = ForegroundJob(queue, queue.enqueue("echo done").id)
    notes: list[str] = []
    job.on_note = notes.append
    chunks = job.chunks()
    assert notes == []
    pool.stop(now=True)
    queue.delete(busy.id)
    assert list(chunks) == [("stdout", b"done\n")]
    assert [note.partition(" for ")[0] for note in notes if "waiting" not in note] == ["started worker-1"]
    job.stop_worker()
    wait_until_stopped(queue)


@pytest.mark.parametrize(
    ("count", "doing"), [(1, "worker-1 runs other-0"), (2, "all 2 are busy")], ids=["a worker", "workers"]
)
def test_busy_workers_are_named(count: int, doing: str, queue: Queue) -> None:
    """A job that waits for others to finish says so, once."""
    queue.start_workers(count)
    others = [queue.enqueue("sleep 60", id=f"other-{number}") for number in range(count)]
    until(lambda: {other.refresh().state for other in others} == {"processing"})
    job = ForegroundJob(queue, queue.enqueue("echo done").id)
    notes: list[str] = []
    job.on_note = notes.append
    chunks = job.chunks()
    assert notes == []
    job.serve_now()
    job.serve_now()
    assert notes == [f"waiting for a free worker; {doing}"]
    queue.cancel(*(other.id for other in others))
    assert list(chunks) == [("stdout", b"done\n")]


def test_paused_queue(queue: Queue) -> None:
    """No worker is started for a paused queue; its job runs after it is resumed."""
    queue.pause("default")
    job = ForegroundJob(queue, queue.enqueue("echo done").id)
    notes: list[str] = []
    job.on_note = notes.append
    chunks = job.chunks()
    job.serve_now()
    assert notes == []
    queue.resume("default")
    assert list(chunks) == [("stdout", b"done\n")]
    job.stop_worker()


@contextmanager
def started(path: Path, *words: str, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    """Start ``run`` in a session of its own and wait until its job writes."""
    with subprocess.Popen(
        [*CONSOLE, "run", *words],
        env=environment(path),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_without_a_terminal(number: int, code: int, queue: Queue) -> None:
    """Where nobody can be asked, Ctrl+C and SIGTERM cancel the job, and the worker ends."""
    with started(queue.path, "-c", LONG) as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1]) == (code, "queuectl: job job-1 cancelled")
    assert queue.job("job-1").state == "cancelled"
    wait_until_stopped(queue)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_the_job_goes_on(number: int, queue: Queue, tmp_path: Path) -> None:
    """The job goes on when the terminal is closed or ``run`` is killed; its worker ends after it."""
    with started(queue.path, "-c", f"echo begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done") as process:
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == (129 if number == signal.SIGHUP else -9)
    assert queue.job("job-1").state == "processing"
    (tmp_path / "go").touch()
    assert queue.job("job-1").wait(60).state == "completed"
    wait_until_stopped(queue)


def test_reader_goes_away(queue: Queue) -> None:
    """The job is cancelled when its output has no reader any more, as a command in a pipeline ends."""
    with started(queue.path, "-c", "echo begun; exec yes") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(60)
    assert queue.job("job-1").state == "cancelled"
    wait_until_stopped(queue)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk(queue: Queue) -> None:
    """If the output cannot be written, the job goes on, and its worker does not stay for the delayed jobs of others."""
    queue.enqueue("true", delay=3600)
    words = [*CONSOLE, "run", "-c", "echo begun"]
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(words, env=environment(queue.path), stdin=subprocess.DEVNULL, stdout=full, check=False)
    assert ran.returncode == 3
    wait_until_stopped(queue)
    assert queue.job("job-2").state == "completed"


@pytest.mark.parametrize("keys", ["\r", "y\r", "what?\ryes\r", "\x04"])
def test_leave_running(keys: str, queue: Queue) -> None:
    """Ctrl+C asks; by default the job is left running, with its worker."""
    with in_terminal(queue.path, "run", "-c", LONG) as (read_until, press):
        read_until("begun\r\n")
        press("\x03")
        read_until("Leave job job-1 running? [Y/n] (Ctrl+C cancels it) ")
        press(keys)
        read_until("queuectl: job job-1 continues; 'queuectl log job-1 --follow' follows it")
    assert [worker["state"] for worker in list_workers(queue.store)] == ["busy"]
    assert queue.job("job-1").state == "processing"


@pytest.mark.parametrize("keys", ["n\r", "No\r", "\x03"])
def test_cancel(keys: str, queue: Queue) -> None:
    """``n`` and a second Ctrl+C cancel the job; its worker ends."""
    with in_terminal(queue.path, "run", "-c", LONG) as (read_until, press):
        read_until("begun\r\n")
        press("\x03")
        read_until("(Ctrl+C cancels it) ")
        press(keys)
        read_until("queuectl: job job-1 cancelled\r\n")
    assert queue.job("job-1").state == "cancelled"
    wait_until_stopped(queue)
