"""Function jobs and bad input or faults: what cannot be pickled, functions that misbehave, damaged payloads."""

from __future__ import annotations

import atexit
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from queuectl_nb import BadInput, GiveUp, JobFailed, Queue, Retry, current_job
from queuectl_nb.client.batch import Batch
from queuectl_nb.engine.notifier import waiter_dir
from queuectl_nb.testing import run_pending
from tests.client.calls import TIMEOUT_S, run
from tests.client.job_functions import (
    ExitsWhenPickled,
    TwoArguments,
    UnpickledAsNumber,
    UnpickleExits,
    UnpickleFails,
    WithLock,
    add,
    become_true,
    change_directory,
    close_and_return_much,
    close_everything,
    close_streams,
    die_after_returning,
    exit_hard,
    fail_without_descriptors,
    fail_without_stderr,
    fork_and_return,
    leave_daemon,
    leave_pool,
    leave_thread,
    recurse,
    remove_streams,
    segfault,
    terminate_group,
)
from tests.engine.harness import fill_disk, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb import Job
    from tests.conftest import Ran
    from tests.web.server import WebServer

HERE = ".".join(map(str, sys.version_info[:3]))


# ---------------------------------------------------------------------- what cannot be pickled


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (lambda: TwoArguments("a", "b"), "TwoArguments: a b"),
        (WithLock, "WithLock: locked"),
        (ExitsWhenPickled, "ExitsWhenPickled"),
        (lambda: UnpickledAsNumber("five"), "UnpickledAsNumber: five"),
    ],
    ids=["unpickling fails", "pickling fails", "pickling exits", "unpickled as another type"],
)
def test_exceptions_that_cannot_be_pickled(served: Queue, error: Callable[[], Exception], text: str) -> None:
    """Such an exception becomes a JobFailed with its text."""

    def raise_it() -> NoReturn:
        raise error()

    job = served.task(raise_it, max_retries=1).submit()
    with pytest.raises(JobFailed, match=text):
        job.result(TIMEOUT_S)


def test_value_that_cannot_be_pickled(served: Queue) -> None:
    """The job is dead at once, keeps the repr of its value, and says so."""
    job = served.task(threading.Lock, max_retries=5).submit()
    with pytest.raises(JobFailed, match=r"the value cannot be pickled: lock: .*lock"):
        job.result(TIMEOUT_S)
    assert (job.state, job.attempts) == ("dead", 1)
    assert job.result_repr.startswith("<unlocked _thread.lock")
    job = served.submit(ExitsWhenPickled)
    with pytest.raises(JobFailed, match=r"the value cannot be pickled: ExitsWhenPickled: 3"):
        job.result(TIMEOUT_S)
    for function, error in ((UnpickleFails, "RuntimeError: not here"), (UnpickleExits, "SystemExit: 3")):
        job = served.submit(function)
        with pytest.raises(JobFailed, match=rf"the value of job .* cannot be unpickled here: {error}"):
            job.result(TIMEOUT_S)
        assert job.state == "completed"


def test_repr_that_is_not_unicode(served: Queue) -> None:
    """A repr with bytes that are not UTF-8, as in names of files, is escaped."""

    class File:
        def __repr__(self) -> str:
            return "\udcff.csv"

    job = served.submit(File)
    job.result(TIMEOUT_S)
    assert job.result_repr == "\\udcff.csv"


def test_argument_that_cannot_be_unpickled(served: Queue) -> None:
    """The call fails, and the function is not called; it did not return either if the argument ends the process."""
    for code in (0, 3):
        argument = UnpickleExits()
        argument.code = code
        with pytest.raises(pickle.UnpicklingError, match=rf"cannot be unpickled: .* sys\.exit\({code}\)"):
            run(served, add, argument)


def test_arguments_that_cannot_be_pickled(served: Queue) -> None:
    """They are refused by the name of the parameter, and nothing is enqueued."""
    before = len(served.jobs())
    lock = threading.Lock()
    for args, kwargs, name in [((1, lock), {}, "y"), ((1,), {"y": lock}, "y"), ((lock,), {}, "x")]:
        with pytest.raises(BadInput, match=rf"^argument {name} of add cannot be pickled: .*lock"):
            served.submit(add, *args, **kwargs)
    with pytest.raises(BadInput, match=r"^argument x of add cannot be pickled: 3$"):
        served.submit(add, ExitsWhenPickled())
    with pytest.raises(BadInput, match="argument x of add cannot"):
        served.map(add, [1, lock])
    with pytest.raises(BadInput, match="function or another callable is needed, not int"):
        served.submit(3)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="function or another callable is needed, not NoneType"):
        served.submit(None)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="map takes iterables of arguments, such as a list, not 5"):
        served.map(add, 5)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"^variable lock of function <lambda> cannot be pickled: .*lock"):
        served.submit(lambda: lock)
    assert len(served.jobs()) == before


def _raise(error: BaseException, *notes: str) -> NoReturn:
    for each in notes:
        error.add_note(each)
    raise error


class _NoText(Retry):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda: _raise(ValueError("bad rate"), "a note\nof two lines"), "ValueError: bad rate"),
        (lambda: _raise(ValueError("first\nsecond")), "ValueError: first"),
        (lambda: _raise(ValueError("\nonly")), "ValueError: only"),
        (lambda: _raise(ValueError("no \udcff.csv")), "ValueError: no \\udcff.csv"),
        (lambda: _raise(GiveUp("\udcff \N{CAT}")), "GiveUp: \\udcff \N{CAT}"),
        (lambda: compile("a b", "f.py", "exec"), "SyntaxError: invalid syntax"),
        (lambda: _raise(ExceptionGroup("many", [OSError()])), "ExceptionGroup: many (1 sub-exception)"),
        (lambda: _raise(_NoText(after=0)), "Retry: <exception str() failed>"),
        (lambda: _raise(KeyboardInterrupt()), "KeyboardInterrupt"),
        (recurse, "RecursionError: maximum recursion depth exceeded"),
        (fail_without_descriptors, "ValueError: after closing"),
        (lambda: (sys.stderr.close(), _raise(ValueError("closed"))), "ValueError: closed"),
        (fail_without_stderr, "ValueError: no stderr"),
        (lambda: (sys.stderr.close(), threading.Lock())[1], "the value cannot be pickled: lock: .*"),
        (lambda: (sys.stderr.close(), sys.exit("bye")), "exit code 1: bye"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_error_of_a_job(served: Queue, function: Callable[[], object], error: str) -> None:
    """``error`` is the type and the first line of the message, also if the traceback cannot be printed."""
    job = served.task(function, max_retries=1).submit()
    assert job.exception(TIMEOUT_S) is not None
    assert re.fullmatch(error if "*" in error else re.escape(error), job.error)


# ---------------------------------------------------------------------- functions that misbehave


@pytest.mark.parametrize(
    ("function", "error", "code"),
    [
        (lambda: sys.exit(3), "exit code 3", 3),
        (lambda: sys.exit("bye"), "exit code 1: bye", 1),
        (lambda: sys.exit(""), "exit code 1", 1),
        (lambda: _raise(SystemExit(_NoText(after=0))), "exit code 1: <exception str() failed>", 1),
        (lambda: sys.exit(256 + 7), "exit code 7", 7),
        (lambda: sys.exit(256), "exit code 1", 1),
        (lambda: sys.exit(-1), "exit code 255", 255),
        (exit_hard, "ended without a value", 0),
        (become_true, "ended without a value", 0),
        (segfault, "killed by SIGSEGV", None),
        (lambda: signal.raise_signal(signal.SIGKILL), "killed by SIGKILL", None),
        (terminate_group, "killed by SIGTERM", None),
    ],
    ids=["3", "text", "empty", "no text", "263", "256", "-1", "_exit", "exec", "segfault", "kill", "killpg"],
)
def test_ends_without_a_value(served: Queue, function: Callable[[], object], error: str, code: int | None) -> None:
    """A process that leaves no value fails, with its exit code."""
    job = served.task(function, max_retries=1).submit()
    with pytest.raises(JobFailed, match=re.escape(error)):
        job.result(TIMEOUT_S)
    assert (job.state, job.error, job.exit_code) == ("dead", error, code)


@pytest.mark.parametrize("chunksize", [1, 2])
def test_process_dies_after_its_value(served: Queue, chunksize: int) -> None:
    """The value of an attempt that has failed does not count; those of a chunk do, as its calls are not repeated."""

    def die_at_exit(_: object) -> int:
        job = current_job()
        assert job is not None
        if job.attempt == 1:
            atexit.register(os.kill, os.getpid(), signal.SIGKILL)
        return job.attempt

    (job,) = served.task(die_at_exit, max_retries=3).map(range(chunksize), chunksize=chunksize)
    assert job.result(TIMEOUT_S) == (2 if chunksize == 1 else [1, 1])
    assert [attempt.error for attempt in job.history] == ["killed by SIGKILL", None]


def test_process_of_a_chunk_ends_between_its_values(served: Queue) -> None:
    """The attempt fails, with exit code 0 as well; the next one makes only the calls that are missing."""

    def exit_in_the_second(call: int) -> tuple[int, int]:
        job = current_job()
        assert job is not None
        if (call, job.attempt) == (1, 1):
            os._exit(0)
        return call, job.attempt

    (job,) = served.task(exit_in_the_second, max_retries=2).map(range(3), chunksize=3)
    assert job.result(TIMEOUT_S) == [(0, 1), (1, 2), (2, 2)]
    assert [attempt.error for attempt in job.history] == ["ended without a value", None]


def test_process_of_a_chunk_ends_after_a_call_gave_up(served: Queue) -> None:
    """The calls that were not made are made by the next attempt."""

    def give_up_or_exit(call: int) -> int:
        job = current_job()
        assert job is not None
        if call == 0:
            raise GiveUp
        if (call, job.attempt) == (1, 1):
            os._exit(0)
        return call

    batch = served.task(give_up_or_exit, max_retries=2).map(range(3), chunksize=3)
    first, *others = batch.results(return_exceptions=True)
    assert (type(first), others) == (GiveUp, [1, 2])


def test_values_of_odd_functions(served: Queue) -> None:
    """Threads are waited for, idle pools and daemons end; descriptors, forks and directories harm nobody."""
    job = served.submit(leave_thread)
    assert job.result(TIMEOUT_S) == "returned"
    assert job.log("stdout") == "end of the thread\n"
    assert run(served, leave_pool) == 3
    pid = run(served, leave_daemon)
    until(lambda: not os.path.exists(f"/proc/{pid}"))
    assert run(served, close_everything) == "closed"
    assert len(run(served, close_and_return_much)) == 200_000
    assert run(served, fork_and_return) == "parent"
    assert run(served, close_streams) == "closed"
    assert run(served, remove_streams) == "removed"
    assert run(served, change_directory) == "/"
    assert run(served, os.getcwd) == os.getcwd()
    assert run(served, sys.exit) is None


def test_a_killed_fork_server_is_replaced(served: Queue) -> None:
    """A job that kills the process it was forked from goes on, and the next one finds another."""

    def kill_parent() -> int:
        parent = os.getppid()
        os.kill(parent, signal.SIGKILL)
        return parent

    assert len({run(served, kill_parent) for _ in range(3)}) == 3
    assert run(served, add, 1) == 2


def test_a_stopped_fork_server_continues(served: Queue) -> None:
    """A job that stops the process it was forked from does not keep the worker waiting for its own end."""

    def stop_parent() -> int:
        parent = os.getppid()
        os.kill(parent, signal.SIGSTOP)
        return parent

    assert len({run(served, stop_parent) for _ in range(3)}) <= 2  # one for each worker
    assert run(served, add, 1) == 2


def test_interpreters(served: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose interpreter is gone, or is another version, is not started; no attempt is counted."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    job = served.submit(add, 1)
    with pytest.raises(JobFailed, match="interpreter /nonexistent/python: No such file or directory"):
        job.result(TIMEOUT_S)
    assert (job.state, job.attempts, job.history[0].outcome) == ("dead", 0, "not_started")
    monkeypatch.undo()
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    job = served.submit(add, 1)
    monkeypatch.undo()
    with pytest.raises(JobFailed, match=rf"enqueued by Python 3\.10\.4, and .* is Python {HERE} now"):
        job.result(TIMEOUT_S)
    assert (job.state, job.attempts, job.history[0].outcome) == ("dead", 0, "not_started")
    until(lambda: not any(path.stat().st_size for path in served.store.db.spool.rglob("*.reply")))


@pytest.mark.parametrize(
    ("site", "error"),
    [
        (
            "sys.version_info = (3, 10, 4); sys.modules['queuectl_nb'] = None",
            rf"it was enqueued by Python {HERE}, and .*/python is Python 3\.10\.4 now",
        ),
        ("sys.modules['queuectl_nb'] = None", "interpreter .*/python cannot import queuectl_nb: No module named"),
        ("sys.path[:] = [each for each in sys.path if not os.path.isdir(each + '/queuectl_nb')]", None),
    ],
    ids=["other version", "no package", "package elsewhere"],
)
def test_replaced_interpreter(
    served: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, error: str | None
) -> None:
    """An interpreter that cannot run the job does not count as an attempt. It may find us where the enqueuer did."""
    (tmp_path / "sitecustomize.py").write_text(f"import os, sys; {site}\n")
    stand_in = tmp_path / "python"
    stand_in.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    stand_in.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    job = served.submit(add, 1)
    monkeypatch.undo()
    if error is None:
        assert job.result(TIMEOUT_S) == 2
        return
    with pytest.raises(JobFailed, match=error):
        job.result(TIMEOUT_S)
    assert (job.state, job.attempts, job.history[0].outcome) == ("dead", 0, "not_started")


@pytest.mark.parametrize(
    ("damage", "size"),
    [*((damage, 100_000) for damage in ("changed", "removed", "link", "folder", "fifo")), ("changed", 8_000_000)],
)
def test_damaged_payload(tmp_path: Path, damage: str, size: int) -> None:
    """A payload file that was changed, removed or replaced fails the attempt, by name; a link is not followed.

    So does one that holds a value, for each call by itself.
    """
    queue = Queue(tmp_path / "queue.db")
    job = queue.task(len, max_retries=1).submit(b"x" * size)
    (value,) = queue.map(lambda n: os.urandom(size * n), [0, 1], chunksize=2)
    (blob,) = (tmp_path / "queue.db-spool").rglob("blobs/*")
    corrupt(blob, damage)
    run_pending(queue)
    assert job.state == "dead"
    assert blob.name in job.error
    row = next(queue.db["blobs"].rows_where("body IS NULL AND sha256 <> ?", [blob.name]))
    corrupt(blob.with_name(row["sha256"]), damage)
    found = Batch(queue, [value.id]).results(return_exceptions=True)
    assert found[0] == b""
    assert re.fullmatch(f"the value of job {value.id} cannot be read: .*{row['sha256']}: .+", str(found[1]))
    dependent = queue.task(len, max_retries=1).submit(value)
    run_pending(queue)
    assert row["sha256"] in dependent.error


def corrupt(path: Path, damage: str) -> None:
    """Damage a file."""
    content = path.read_bytes()
    if damage == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return
    path.unlink()
    if damage == "link":
        (path.parents[1] / "elsewhere").write_bytes(content)
        path.symlink_to(path.parents[1] / "elsewhere")
    elif damage == "folder":
        path.mkdir()
    elif damage == "fifo":
        os.mkfifo(path)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE payloads SET body = '{}'",
        "UPDATE payloads SET body = '[1]'",
        "UPDATE payloads SET body = json_remove(body, '$.jobs')",
        "DELETE FROM payloads",
        "DELETE FROM blobs",
    ],
)
def test_damaged_payload_rows(queue: Queue, sql: str) -> None:
    """A payload that was damaged in the database ends its job, and not the worker."""
    job = queue.task(abs, max_retries=1).submit(1)
    queue.db.execute("PRAGMA foreign_keys = OFF")
    queue.db.execute("PRAGMA ignore_check_constraints = ON")
    queue.db.execute(sql)
    run_pending(queue)
    assert job.state == "dead"
    assert re.search("payload (is damaged|does not exist)", job.error)


# ---------------------------------------------------------------------- much, and for long


def test_100_mb(served: Queue) -> None:
    """An argument and a value of 100 MB arrive unchanged, and go with their job; of the same content, as one file."""
    body = os.urandom(1 << 20) * 100
    job = served.submit(lambda data: data, body)
    assert job.result(TIMEOUT_S) == body
    folder = Path(served.store.db.output_dir, "blobs")
    assert sum(path.stat().st_size > 100 << 20 for path in folder.iterdir()) == 1
    served.delete(job)
    assert not [path for path in folder.iterdir() if path.stat().st_size > 100 << 20]


def test_10_000_calls(served: Queue) -> None:
    """10,000 calls in one ``map`` are one transaction, and have their values in order."""
    batch = served.map(add, range(10_000), [0.5] * 10_000, chunksize=2500)
    assert batch.results(TIMEOUT_S) == [n + 0.5 for n in range(10_000)]
    later = served.task(add, delay=3600).map(range(10_000))
    assert len({*later.ids}) == 10_000
    assert served.jobs(ids=[later.ids[0], later.ids[-1]]).command.to_list() == ["add(0)", "add(9999)"]
    served.cancel(later)


def test_a_reply_is_limited(queue: Queue) -> None:
    """The values of a chunk that are small each, but many, are files: the worker reads the others into memory."""
    batch = queue.map(lambda n: bytes([n]) * 60_000, range(200), chunksize=200)
    run_pending(queue)
    assert batch.results() == [bytes([n]) * 60_000 for n in range(200)]
    inline = queue.db["job_values"].count_where("body IS NOT NULL")
    assert 0 < inline < 150


def test_full_disk(small_disk: Path) -> None:
    """A small value waits until there is space, a large one fails with the reason; no value is lost."""
    queue = Queue(small_disk / "queue.db")
    queue.set("backoff_max", 0)
    ballast, started, go = (small_disk.parent / name for name in ("ballast", "started", "go"))
    ballast.symlink_to(small_disk / "ballast")

    def make(size: int) -> bytes:
        started.touch()
        while not go.exists():
            time.sleep(0.01)
        return os.urandom(size)

    with queue.start_workers(1):
        for size, errors in ((1000, [None]), (1 << 20, ["the value cannot be written: No space left on device", None])):
            job = queue.task(make, max_retries=2).submit(size)
            until(started.exists)
            fill_disk(ballast)
            go.touch()
            until(lambda: [*small_disk.rglob("*.reply")])  # the value is being written
            assert job.state == "processing"
            ballast.resolve().unlink()
            assert len(job.result(TIMEOUT_S)) == size
            assert [attempt.error for attempt in job.history] == errors
            for path in (started, go, *small_disk.rglob("*.reply")):
                path.unlink()


def test_output_larger_than_the_disk(small_disk: Path) -> None:
    """Jobs whose output fills the disk end, with the middle of it lost; the next job has room."""
    queue = Queue(small_disk / "queue.db")
    queue.set("output_limit", 100_000)

    def write(ignored: type[Exception]) -> int:
        lost = 0
        while lost < 100:  # the worker may free the disk meanwhile
            try:
                os.write(1, b"x" * 1024)
            except ignored:
                lost += 1
        return lost

    with queue.start_workers(1):
        jobs = [
            queue.task(write, max_retries=1).submit(ValueError),
            queue.task(write, max_retries=1).submit(OSError),
            queue.enqueue("yes | head -c 100000000", max_retries=1),
            queue.enqueue("yes | head -c 100000000; true", max_retries=1),
            queue.enqueue("echo next"),
        ]
        for job in jobs:
            job.wait(TIMEOUT_S)
    note = "part of its output was lost: the disk is full"
    errors = ["OSError: [Errno 28] No space left on device", note, f"exit code 1: {note}", note, None]
    assert [job.error for job in jobs] == errors
    assert jobs[1].result() == 100


def test_call_that_waits_for_space_times_out(small_disk: Path) -> None:
    """A call that cannot report its failure, because its artifacts fill the disk, ends by its timeout."""
    queue = Queue(small_disk / "queue.db")

    def fill() -> None:
        job = current_job()
        assert job is not None
        with (job.artifacts / "ballast").open("wb", buffering=0) as file:
            while file.write(b"x" * 1024):
                pass

    with queue.start_workers(1):
        job = queue.task(fill, max_retries=1, timeout=2).submit()
        folder = small_disk / "queue.db-spool/output"
        ended = f"{'?' * 32}.artifacts/ballast"
        until(lambda: [*folder.glob(ended)] or job.state == "dead")  # dead: it has timed out before the disk was full
        for path in folder.glob("*/ballast"):
            path.unlink()
        job.wait(TIMEOUT_S)
    assert job.error.startswith("timed out")


def test_process_that_waits_is_killed(served: Queue, tmp_path: Path) -> None:
    """A kernel that is killed during ``job.result()`` disturbs neither the job nor others that wait."""
    go = tmp_path / "go"

    def wait_for(path: str) -> str:
        while not os.path.exists(path):
            time.sleep(0.01)
        return "done"

    job = served.submit(wait_for, str(go))
    script = "import sys; from queuectl_nb import Queue; Queue(sys.argv[1]).job(sys.argv[2]).result()"
    waiters = waiter_dir(served.store.db.spool)
    with subprocess.Popen([sys.executable, "-c", script, str(served.path), job.id]) as kernel:
        until(lambda: [*waiters.glob(f"{kernel.pid}-*.fifo")])
        until(lambda: job.state == "processing")
        kernel.kill()
    go.touch()
    assert job.result(TIMEOUT_S) == "done"
    assert [each.outcome for each in job.history] == ["succeeded"]
    os.utime(next(waiters.glob(f"{kernel.pid}-*.fifo")), (0, 0))
    run(served, abs, 1)
    until(lambda: not [*waiters.glob(f"{kernel.pid}-*.fifo")])


# ---------------------------------------------------------------------- what is only looked at


def test_nothing_is_unpickled_to_look_at_it(queue: Queue, run: Callable[..., Ran], server: WebServer) -> None:
    """No command, frame or page of the web server loads the pickle of an argument, value or exception."""
    marker = queue.path.with_name("loaded")

    class Bomb(Exception):
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
            return os.mkdir, (str(marker),)

    def detonate(bomb: object) -> object:
        if bomb is not False:
            raise Bomb
        return Bomb()

    task = queue.task(detonate, max_retries=1)
    jobs = [task.submit(False), task.submit(Bomb()), *task.map([False, False], chunksize=2)]
    look_at(queue, jobs, run, server)
    assert not marker.exists()
    run_pending(queue)
    assert [str(job.state) for job in jobs] == ["completed", "dead", "completed"]
    marker.rmdir()  # by the job that has loaded its argument
    look_at(queue, jobs, run, server)
    assert not marker.exists()


def look_at(queue: Queue, jobs: list[Job], run: Callable[..., Ran], server: WebServer) -> None:
    """Show jobs in all ways."""
    for job in jobs:
        for command in (["show", job.id], ["show", job.id, "--json"], ["log", job.id]):
            assert run(*command).exit_code == 0
        for target in (f"/api/jobs/{job.id}", f"/api/jobs/{job.id}/log?stream=stderr", f"/?job={job.id}"):
            assert server.ask(target).status == 200
        assert job._repr_html_()
        assert job.to_dict()
    for words in (
        "list",
        "list --json",
        "list --format csv",
        "status",
        "stats",
        "doctor",
        "stats --by tag",
        "dlq list",
    ):
        assert run(*words.split()).exit_code == 0, words
    for target in ("/", "/api/status", "/api/jobs", "/api/stats", "/api/workers", "/metrics"):
        assert server.ask(target).status == 200, target
    assert len(queue.jobs()) == len(queue.results()) == len(jobs)
    queue.attempts()
    queue.stats(by="command")


@pytest.mark.parametrize("chunksize", [1, 2])
def test_killed_after_the_value_was_written(served: Queue, tmp_path: Path, chunksize: int) -> None:
    """The next attempt makes a single call again, and not those of a chunk; it succeeds, and leaves no file."""
    calls = tmp_path / "calls"
    batch = served.task(die_after_returning, max_retries=2).map([5, 6], [str(calls)] * 2, chunksize=chunksize)
    assert batch.results() == [5, 6]
    for job in batch:
        outcomes = [(attempt.outcome, attempt.signal) for attempt in job.history]
        assert outcomes == [("failed", "SIGKILL"), ("succeeded", None)]
    tokens = {attempt.token for job in batch for attempt in job.history}
    until(lambda: not tokens & served.store.spool.tokens())  # after they are recorded
    assert sorted(calls.read_text().split()) == (["5", "6"] if chunksize == 2 else ["5", "5", "6", "6"])


def test_function_that_cannot_be_imported(queue: Queue, run: Callable[..., Ran]) -> None:
    """It fails in the job, dead at once, by its name; the exception is that of the import."""
    for name, kind in (("nowhere:f", ModuleNotFoundError), ("math:nothing", AttributeError), ("math:pi", ImportError)):
        assert run("enqueue", "--call", name, "--id", kind.__name__).exit_code == 0
        job = queue.job(kind.__name__)
        run_pending(queue)
        with pytest.raises(kind, match=r"nowhere|nothing|math:pi"):
            job.result()
        assert (job.state, job.attempts) == ("dead", 1)
        assert kind.__name__ in job.error
