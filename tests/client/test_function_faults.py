"""Function jobs and bad input or faults: what cannot be pickled, functions that misbehave, damaged payloads."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from queuectl_nb import BadInput, JobFailed, Queue, Retry
from queuectl_nb.client.batch import Batch
from queuectl_nb.testing import run_pending, temporary_queue
from tests.client.job_functions import (
    ExitsWhenPickled,
    TwoArguments,
    UnpickleFails,
    WithLock,
    add,
    become_true,
    change_directory,
    close_and_return_much,
    close_everything,
    exit_hard,
    fail_without_descriptors,
    fail_without_stderr,
    fork_and_return,
    leave_daemon,
    leave_thread,
    recurse,
    segfault,
    terminate_group,
)
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def served() -> Iterator[Queue]:
    """Return a queue with two workers, for the whole module."""
    with temporary_queue() as queue:
        queue.set("backoff_max", 0)
        with queue.start_workers(2):
            yield queue


def run(queue: Queue, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a function with a single attempt and return its value."""
    return queue.task(function, max_retries=1).submit(*args, **kwargs).result(TIMEOUT_S)


# ---------------------------------------------------------------------- what cannot be pickled


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (lambda: TwoArguments("a", "b"), "TwoArguments: a b"),
        (WithLock, "WithLock: locked"),
        (ExitsWhenPickled, "ExitsWhenPickled"),
    ],
    ids=["unpickling fails", "pickling fails", "pickling exits"],
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
    job = served.submit(UnpickleFails)
    with pytest.raises(JobFailed, match=r"the value of job .* cannot be unpickled here: RuntimeError: not here"):
        job.result(TIMEOUT_S)
    assert job.state == "completed"


def test_arguments_that_cannot_be_pickled(served: Queue) -> None:
    """They are refused by the name of the parameter, and nothing is enqueued."""
    before = len(served.jobs())
    lock = threading.Lock()
    for args, kwargs, name in [((1, lock), {}, "y"), ((1,), {"y": lock}, "y"), ((lock,), {}, "x")]:
        with pytest.raises(BadInput, match=rf"^argument {name} of add cannot be pickled: .*lock"):
            served.submit(add, *args, **kwargs)
    with pytest.raises(BadInput, match="argument x of add cannot"):
        served.map(add, [1, lock])
    with pytest.raises(BadInput, match="function or another callable is needed, not int"):
        served.submit(3)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"function <lambda> cannot be pickled: .*lock"):
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
        (lambda: compile("a b", "f.py", "exec"), "SyntaxError: invalid syntax"),
        (lambda: _raise(ExceptionGroup("many", [OSError()])), "ExceptionGroup: many (1 sub-exception)"),
        (lambda: _raise(_NoText(after=0)), "Retry: <exception str() failed>"),
        (lambda: _raise(KeyboardInterrupt()), "KeyboardInterrupt"),
        (recurse, "RecursionError: maximum recursion depth exceeded"),
        (fail_without_descriptors, "ValueError: after closing"),
        (lambda: (sys.stderr.close(), _raise(ValueError("closed"))), "ValueError: closed"),
        (fail_without_stderr, "ValueError: no stderr"),
        (lambda: (sys.stderr.close(), threading.Lock())[1], "the value cannot be pickled: lock: .*"),
        (lambda: (sys.stderr.close(), sys.exit("bye")), "exit code 1"),
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
        (lambda: sys.exit("bye"), "exit code 1", 1),
        (lambda: sys.exit(256 + 7), "exit code 7", 7),
        (lambda: sys.exit(256), "exit code 1", 1),
        (lambda: sys.exit(-1), "exit code 255", 255),
        (exit_hard, "ended without a value", 0),
        (become_true, "ended without a value", 0),
        (segfault, "killed by SIGSEGV", None),
        (lambda: signal.raise_signal(signal.SIGKILL), "killed by SIGKILL", None),
        (terminate_group, "killed by SIGTERM", None),
    ],
    ids=["3", "text", "263", "256", "-1", "_exit", "exec", "segfault", "kill", "killpg"],
)
def test_ends_without_a_value(served: Queue, function: Callable[[], object], error: str, code: int | None) -> None:
    """A process that leaves no value fails, with its exit code."""
    job = served.task(function, max_retries=1).submit()
    with pytest.raises(JobFailed, match=error):
        job.result(TIMEOUT_S)
    assert (job.state, job.error, job.exit_code) == ("dead", error, code)


def test_values_of_odd_functions(served: Queue) -> None:
    """Threads are waited for, daemons and processes are killed; descriptors, forks and directories harm nobody."""
    job = served.submit(leave_thread)
    assert job.result(TIMEOUT_S) == "returned"
    assert job.log("stdout") == "end of the thread\n"
    pid = run(served, leave_daemon)
    until(lambda: not os.path.exists(f"/proc/{pid}"))
    assert run(served, close_everything) == "closed"
    assert len(run(served, close_and_return_much)) == 200_000
    assert run(served, fork_and_return) == "parent"
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
    here = ".".join(map(str, sys.version_info[:3]))
    with pytest.raises(JobFailed, match=rf"enqueued by Python 3\.10\.4, and .* is Python {here} now"):
        job.result(TIMEOUT_S)
    assert (job.state, job.attempts, job.history[0].outcome) == ("dead", 0, "not_started")
    until(lambda: not [*served.store.db.spool.rglob("*.reply")])


@pytest.mark.parametrize("damage", ["changed", "removed", "link", "folder", "fifo"])
def test_damaged_payload(tmp_path: Path, damage: str) -> None:
    """A payload file that was changed, removed or replaced fails the attempt, by name; a link is not followed.

    So does one that holds a value, for each call by itself.
    """
    queue = Queue(tmp_path / "queue.db")
    job = queue.task(len, max_retries=1).submit(b"x" * 100_000)
    (value,) = queue.map(lambda n: os.urandom(100_000 * n), [0, 1], chunksize=2)
    (blob,) = (tmp_path / "queue.db-spool").rglob("blobs/*")
    spoil(blob, damage)
    run_pending(queue)
    assert job.state == "dead"
    assert blob.name in job.error
    row = next(queue.db["blobs"].rows_where("body IS NULL AND sha256 <> ?", [blob.name]))
    spoil(blob.with_name(row["sha256"]), damage)
    found = Batch(queue, [value.id]).results(return_exceptions=True)
    assert found[0] == b""
    assert re.fullmatch(f"the value of job {value.id} cannot be read: .*{row['sha256']}: .+", str(found[1]))
    dependent = queue.task(len, max_retries=1).submit(value)
    run_pending(queue)
    assert row["sha256"] in dependent.error


def spoil(path: Path, damage: str) -> None:
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
