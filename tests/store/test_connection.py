"""Connections: threads, forks, transactions and interrupts."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.model.state import State
from queuectl_nb.store import bulk_export
from queuectl_nb.store.bulk_export import JobColumns
from queuectl_nb.store.connection_use import InUse, users
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.store import Store
from tests.engine.harness import in_threads
from tests.store.stored_jobs import add_job, job_ids

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from queuectl_nb.store.transaction import Transaction
    from tests.store.conftest import StoreHarness


def test_synchronous_full(store: Store) -> None:
    """Connections of every thread use write-ahead mode and sync at each commit (FULL)."""
    found = []

    def read() -> None:
        connection = store.db.connection()
        found.append([connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")])

    read()
    other = threading.Thread(target=read)
    other.start()
    other.join()
    assert found == [[2, "wal"]] * 2


# ---------------------------------------------------------------------- threads and forks


def test_one_connection_per_thread(store: Store) -> None:
    """Eight threads read and write one store at once, each through its own connection; nothing is lost."""
    connections: list[object] = []
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait()
        for turn in range(20):
            add_job(store, f"job-{number}-{turn}")
            store.reader.counts()
        connections.append(store.db.connection())
        together.wait()

    with in_threads(*(partial(work, number) for number in range(8))):
        pass
    assert len({id(each) for each in connections}) == 8
    assert store.reader.counts()[State.PENDING] == 160


def _child(store: Store, queue: Any) -> None:
    add_job(store, "of the child".replace(" ", "-"))
    queue.put((id(store.db.connection()), job_ids(store)))


def test_new_thread_does_not_recreate_a_deleted_queue(store: Store) -> None:
    """A thread that connects after the file was deleted gets an error and creates no file."""
    for path in store.path.parent.glob(f"{store.path.name}*"):
        if path.is_file():
            path.unlink()
    errors: list[str] = []

    def read() -> None:
        try:
            store.settings.read()
        except BadEnvironment as gone:
            errors.append(str(gone))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert ["deleted or replaced" in each for each in errors] == [True]
    assert not store.path.exists()


def test_connections_after_a_fork(store: Store) -> None:
    """Parent and child read and write through new connections after a fork."""
    add_job(store, "before")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    mine = store.db.connection()
    process = context.Process(target=_child, args=(store, queue))
    process.start()
    theirs, seen = queue.get(timeout=30)
    process.join(60)
    assert process.exitcode == 0
    assert theirs != id(mine)
    assert seen == ["before", "of-the-child"]
    assert store.db.connection() is not mine
    add_job(store, "after")
    assert job_ids(store) == ["before", "of-the-child", "after"]
    assert store.db.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_fork_during_a_write_of_another_thread(store: Store) -> None:
    """A child forked while another thread writes does not inherit the open transaction."""
    inside, leave = threading.Event(), threading.Event()

    def write() -> None:
        with store.db.write() as connection:
            connection.execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
            inside.set()
            leave.wait(0.3)

    writer = threading.Thread(target=write)
    writer.start()
    inside.wait()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            store.db.set_lock_timeout(2)
            store.settings.set("lease", 20)
            os._exit(int(store.settings.read().timeout))
        os._exit(1)
    leave.set()
    writer.join()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert (store.settings.read().timeout, store.settings.read().lease) == (7, 20)


def test_connections_of_another_pool_keep_the_log(store: Store) -> None:
    """They hold the locks that a copy of the file does not drop: another process does not delete the log."""
    pool = store.db.new_pool(lambda: sqlite3.connect(store.path))
    with InUse():
        pool.get().execute("SELECT count(*) FROM jobs").fetchone()
    add_job(store, "a")
    store.db.close()
    store.path.read_bytes()
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM jobs'); c.close()"
    subprocess.run([sys.executable, "-c", script, str(store.path)], check=True)
    assert Path(f"{store.path}-wal").exists()
    pool.close()
    assert not Path(f"{store.path}-wal").exists()


# ---------------------------------------------------------------------- removed files


def test_a_removed_spool_is_created_again(store: Store) -> None:
    """Writes of an open queue go on when somebody removes its spool, with private directories; nothing is lost."""
    add_job(store, "a")
    shutil.rmtree(store.db.spool)
    add_job(store, "b")
    assert job_ids(store) == ["a", "b"]
    assert {path.stat().st_mode & 0o777 for path in (store.db.spool, store.spool.folder, store.worker_dir)} == {0o700}


def test_the_spool_of_a_deleted_queue_is_not_created(store: Store) -> None:
    """A write to a queue that was deleted as a whole says so and leaves no directory behind."""
    shutil.rmtree(store.db.spool)
    store.path.unlink()
    with pytest.raises(BadEnvironment, match="was deleted or replaced while in use"):
        add_job(store, "a")
    assert not store.db.spool.exists()


# ---------------------------------------------------------------------- transactions


def test_transactions_are_atomic(store: Store) -> None:
    """An error during a write rolls back everything, the revision too, and the next write works."""
    before = store.db.revision()
    with pytest.raises(ZeroDivisionError), store.db.write() as connection:  # noqa: PT012
        connection.execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
        raise ZeroDivisionError
    assert store.settings.read().timeout == 30
    assert store.db.revision() == before
    add_job(store, "a")
    assert store.db.revision() == (before[0] + 1, 0)


def test_read_snapshot(store: Store) -> None:
    """A commit by another connection during a read is visible only in the next read."""
    with store.db.read() as connection:
        connection.execute("SELECT * FROM jobs").fetchall()
        other = threading.Thread(target=add_job, args=(store, "a"))
        other.start()
        other.join()
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
    assert job_ids(store) == ["a"]


def test_data_version(store: Store) -> None:
    """The version changes when another connection commits, and only then."""
    version = store.db.data_version()
    assert store.db.data_version() == version
    other = threading.Thread(target=add_job, args=(store, "a"))
    other.start()
    other.join()
    assert store.db.data_version() != version


def test_interrupted_write(store: Store) -> None:
    """Ctrl+C during a write rolls it back and releases the lock."""
    with pytest.raises(KeyboardInterrupt), store.db.write() as connection:  # noqa: PT012
        connection.execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
        signal.raise_signal(signal.SIGINT)
    with store.db.write_lock.request(0):
        pass
    assert not store.db.connection().in_transaction
    assert store.settings.read().timeout == 30


def _left_open(transaction: Transaction) -> Transaction:
    transaction.__enter__()
    return transaction


def test_unfinished_blocks_are_cleaned_up(store: Store) -> None:
    """Blocks that an interrupt left without their exit do not affect the next ones."""
    reading = _left_open(store.db.read())
    add_job(store, "a")
    assert job_ids(store) == ["a"]
    reading = _left_open(store.db.read())
    other = threading.Thread(target=add_job, args=(store, "b"))
    other.start()
    other.join()
    assert job_ids(store) == ["a", "b"], "a look that was cut off must not freeze what is seen"
    reading = _left_open(store.db.write())
    add_job(store, "c")
    assert reading.opened is None
    writing = store.db.write()
    writing.__enter__().execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
    del writing
    assert not store.db.connection().in_transaction
    add_job(store, "d")
    assert job_ids(store) == ["a", "b", "c", "d"]
    assert store.settings.read().timeout == 30


def test_nested_writes_are_refused(store: Store) -> None:
    """A write within a write raises, names the queue, and the outer one is rolled back as for any error."""
    with pytest.raises(Busy, match=r"queue .*queue.db is busy: this thread is in"), store.db.write() as connection:  # noqa: PT012
        connection.execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
        with store.db.read() as inner:
            assert inner is connection, "a read is part of the write"
        add_job(store, "a")
    assert not job_ids(store)
    assert store.settings.read().timeout == 30
    add_job(store, "a")
    assert job_ids(store) == ["a"]


def _at_instruction(target: int, action: Callable[[], object], code: Callable[[], object]) -> bool:
    """Run ``code`` and, before its instruction ``target``, ``action``; return whether there are so many."""
    left = target

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if not left:
                sys.settrace(None)
                action()
        return trace

    gc.disable()  # a collection calls weakref callbacks of other objects, in which nothing can be raised
    sys._getframe().f_trace_opcodes = True  # before settrace, for Python 3.12.0 to 3.12.3
    sys.settrace(trace)
    try:
        code()
    finally:
        sys.settrace(None)
        gc.enable()
    return left <= 0


def test_no_interrupt_is_swallowed(store: Store) -> None:
    """An interrupt before any instruction of a read or write is raised, and leaves nothing open."""
    for transaction in (store.db.read, store.db.write):

        def one(transaction: Callable[[], Transaction] = transaction) -> None:
            with transaction():
                pass

        for target in itertools.count(1, 3):  # code that swallows it has more than three instructions
            try:
                if not _at_instruction(target, lambda: signal.raise_signal(signal.SIGINT), one):
                    break
            except KeyboardInterrupt:
                pass
            else:
                pytest.fail(f"swallowed before instruction {target} of {transaction.__name__}")
            assert not store.db.connection().in_transaction
            with store.db.write_lock.request(0):
                pass
        assert target > 100


def _try(action: Callable[[], object], refusals: list[str]) -> None:
    try:
        action()
    except Busy as error:
        refusals.append(str(error))


def test_signal_handlers_and_finalizers_use_the_queue(store: Store) -> None:
    """Within a call of their own thread they are refused, at once and without harm to that call, or they work."""
    other = Store(store.path)
    for each in (store, other):
        each.db.set_lock_timeout(0.0)
    added: list[str] = []

    def add(target: Store) -> None:
        add_job(target, job_id := str(time.monotonic_ns()))
        added.append(job_id)

    def read() -> None:
        with store.db.read() as connection:
            first, second = (connection.execute("SELECT count(*) FROM jobs").fetchone() for _ in range(2))
            assert connection.in_transaction
            assert first == second

    def write() -> None:
        add(store)

    actions = (partial(add, store), partial(add, other), partial(job_ids, store), partial(job_ids, other))
    for code in (read, write):
        refusals: list[str] = []
        for target in itertools.count(1, 11):
            action = (*actions, store.db.close)[target % 5]
            if not _at_instruction(target, partial(_try, action, refusals), code):
                break
        assert len(refusals) > 10
        assert all("this thread is in the middle of another call" in text for text in refusals)
    assert sorted(job_ids(store)) == sorted(added)


def test_a_transaction_that_another_thread_collects(store: Store) -> None:
    """It ends completely: its own thread can write, and a fork does not wait for it."""
    kept: list[Transaction] = []
    with ThreadPoolExecutor(1) as executor:
        executor.submit(lambda: kept.append(_left_open(store.db.write()))).result(60)
        assert users.others()
        kept.clear()
        gc.collect()
        assert not users.threads
        executor.submit(add_job, store, "a").result(60)
    assert job_ids(store) == ["a"]


def test_the_traceback_of_an_interrupt_keeps_no_snapshot(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPython keeps the last traceback, and with it the variables of a read that was interrupted."""
    monkeypatch.setattr(bulk_export, "CHUNK_ROWS", 1)
    harness.add("a", "b", "c")
    store = harness.store
    chunks = JobColumns(store.reader, Filter())._rows("seq")
    next(chunks)
    with pytest.raises(KeyboardInterrupt) as kept:
        chunks.throw(KeyboardInterrupt())  # type: ignore[attr-defined]  # a generator
    ThreadPoolExecutor(1).submit(store.settings.set, "timeout", 5).result()
    harness.add("later")
    assert store.settings.read().timeout == 5
    assert kept.value.__traceback__ is not None


def test_a_transaction_does_not_format_the_handler_of_interrupts(store: Store) -> None:
    """That of ``asyncio.run`` shows its task and all that waits for it, which took a millisecond per transaction."""
    shown = []

    class Handler:
        def __call__(self, number: int, frame: object) -> None: ...

        def __repr__(self) -> str:
            shown.append(1)
            return "Handler"

    previous = signal.signal(signal.SIGINT, Handler())
    try:
        add_job(store, "a")
        assert job_ids(store) == ["a"]
        assert not shown
    finally:
        signal.signal(signal.SIGINT, previous)


def test_interrupts_at_random_moments(queue_path: Path) -> None:
    """A process interrupted at random moments of its writes continues, and others can always write."""
    script = """
import signal, sys, time
from pathlib import Path
from queuectl_nb.store.store import Store
store = Store(Path(sys.argv[1]))
def interrupt(_, frame):
    while frame is not None:
        if frame.f_code is one.__code__:
            raise KeyboardInterrupt
        frame = frame.f_back
def one(number):
    with store.db.write() as connection:
        connection.execute("INSERT INTO settings (key, value) VALUES (?, '1')", (str(number),))
caught = done = 0
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
while caught < 500:
    done += 1
    try:
        one(done)
    except KeyboardInterrupt:
        caught += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(caught, flush=True)
with store.db.write():
    pass
time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(queue_path)], stdout=subprocess.PIPE, text=True, env=_with_path()
    )
    try:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == 500
        store = Store(queue_path)
        store.db.set_lock_timeout(5)
        add_job(store, "a")
        assert store.db.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        process.kill()
        process.communicate()


def _with_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(sys.modules["queuectl_nb"].__file__ or "").parents[1])}


def test_settings_of_connections(store: Store) -> None:
    """The time to wait for others applies at once, a small cache to workers, and temporary tables are in memory."""

    def pragma(name: str) -> int:
        found: int = store.db.connection().execute(f"PRAGMA {name}").fetchone()[0]
        return found

    assert (pragma("busy_timeout"), pragma("temp_store")) == (30_000, 2)
    store.db.set_lock_timeout(1.5)
    assert (pragma("busy_timeout"), store.db.lock_timeout_s) == (1500, 1.5)
    assert pragma("cache_size") < -1000
    store.db.tune_for_worker()
    assert pragma("cache_size") == -1000
    assert sqlite3.adapters[type(None), sqlite3.PrepareProtocol](None) is None
    (found,) = store.db.connection().execute("SELECT ?", (None,))
    assert found == (None,)


def test_exclusive_statements_are_transactions(store: Store) -> None:
    """The write lock is held, and each statement is committed at once."""
    with store.db.exclusive() as connection:
        assert not connection.in_transaction
        connection.execute("INSERT INTO settings (key, value) VALUES ('lease', '9')")
        assert not connection.in_transaction
    with store.db.write() as connection:
        assert connection.in_transaction


def test_a_replaced_file_is_noticed(store: Store) -> None:
    """A file that was moved away, or that another one has replaced, is not the queue."""
    assert not store.db.is_replaced()
    os.rename(store.path, f"{store.path}.old")
    assert store.db.is_replaced()
    shutil.copy(f"{store.path}.old", store.path)
    assert store.db.is_replaced()
