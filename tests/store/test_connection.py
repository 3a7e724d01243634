"""The file in use: threads, forks, transactions and interrupts."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from queuectl_nb.client.wait import Wait
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.insert import insert_jobs
from queuectl_nb.store.store import Store


def _add(store: Store, job_id: str, command: str = "true") -> None:
    insert_jobs(store.db, [JobSpec(command, id=job_id)], cwd="/", recorded_env={}, now=time.time())


def _ids(store: Store) -> list[str]:
    with store.db.read() as connection:
        return [job_id for (job_id,) in connection.execute("SELECT id FROM jobs ORDER BY seq")]


def test_every_commit_reaches_the_disk(store: Store) -> None:
    """Connections of every thread sync at each commit (FULL), in write-ahead mode."""
    found = []

    def look() -> None:
        connection = store.db.connection()
        found.append([connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")])

    look()
    other = threading.Thread(target=look)
    other.start()
    other.join()
    assert found == [[2, "wal"]] * 2


# ---------------------------------------------------------------------- threads and forks


def test_each_thread_has_a_connection_of_its_own(store: Store) -> None:
    """Eight threads write and read one store at once: each through its own connection, and nothing is lost."""
    connections: list[object] = []
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait()
        for turn in range(20):
            _add(store, f"job-{number}-{turn}")
            store.reader.counts()
        connections.append(store.db.connection())
        together.wait()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len({id(each) for each in connections}) == 8
    assert store.reader.counts()["pending"] == 160


def _child(store: Store, queue: Any) -> None:
    _add(store, "of the child".replace(" ", "-"))
    queue.put((id(store.db.connection()), _ids(store)))


def test_a_new_thread_makes_no_file_where_the_queue_was_deleted(store: Store) -> None:
    """A thread that comes when the file is gone is told so, and leaves nothing that looks like an empty queue."""
    for path in store.path.parent.glob(f"{store.path.name}*"):
        if path.is_file():
            path.unlink()
    told: list[str] = []

    def look() -> None:
        try:
            store.settings.read()
        except BadEnvironment as gone:
            told.append(str(gone))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert ["deleted or replaced" in each for each in told] == [True]
    assert not store.path.exists()


def test_a_fork_gets_a_connection_of_its_own(store: Store) -> None:
    """A fork closes the connections; parent and child read and write through new ones."""
    _add(store, "before")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    mine = store.db.connection()
    process = context.Process(target=_child, args=(store, queue))
    process.start()
    theirs, seen = queue.get(timeout=30)
    process.join(30)
    assert process.exitcode == 0
    assert theirs != id(mine)
    assert seen == ["before", "of-the-child"]
    assert store.db.connection() is not mine
    _add(store, "after")
    assert _ids(store) == ["before", "of-the-child", "after"]
    assert store.db.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_fork_while_another_thread_writes_gets_a_queue_that_works(store: Store) -> None:
    """A child forked while another thread was writing can write: it was not born with that transaction half done."""
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
            os._exit(store.settings.read().timeout)
        os._exit(1)
    leave.set()
    writer.join()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert (store.settings.read().timeout, store.settings.read().lease) == (7, 20)


# ---------------------------------------------------------------------- transactions


def test_a_transaction_is_whole_or_absent(store: Store) -> None:
    """An error in the middle of a write leaves nothing of it, its revision included, and the next write works."""
    before = store.reader.revision()
    with pytest.raises(ZeroDivisionError), store.db.write() as connection:  # noqa: PT012
        connection.execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
        raise ZeroDivisionError
    assert store.settings.read().timeout == 30
    assert store.reader.revision() == before
    _add(store, "a")
    assert store.reader.revision() == (before[0] + 1, 0)


def test_a_look_sees_one_moment(store: Store) -> None:
    """What another connection commits in the middle of a look shows in the next one only."""
    with store.db.read() as connection:
        connection.execute("SELECT * FROM jobs").fetchall()
        other = threading.Thread(target=_add, args=(store, "a"))
        other.start()
        other.join()
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
    assert _ids(store) == ["a"]


def test_the_version_tells_of_others_commits(store: Store) -> None:
    """The cheap number changes when another connection has committed, and stays while nobody does."""
    version = store.db.data_version()
    assert store.db.data_version() == version
    other = threading.Thread(target=_add, args=(store, "a"))
    other.start()
    other.join()
    assert store.db.data_version() != version


def test_a_wait_sees_what_its_own_thread_commits(store: Store) -> None:
    """Who waits in an event loop sees the commits of other coroutines there, which share the thread's connection."""
    _add(store, "a")
    waiting = Wait(store, ["a"])
    assert waiting.read_progress().remaining == 1
    assert waiting.read_progress() is waiting.read_progress(), "nothing was committed: nothing is read"
    store.jobs.cancel(["a"], time.time())
    assert waiting.read_progress().remaining == 0


def test_an_interrupt_in_a_write_leaves_neither_transaction_nor_lock(store: Store) -> None:
    """Ctrl+C in the middle of a write rolls it back and lets other writers in."""
    with pytest.raises(KeyboardInterrupt), store.db.write() as connection:  # noqa: PT012
        connection.execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
        signal.raise_signal(signal.SIGINT)
    with store.db.write_lock.request(0):
        pass
    assert not store.db.connection().in_transaction
    assert store.settings.read().timeout == 30


def test_what_an_interrupt_cut_off_heals_itself(store: Store) -> None:
    """Blocks that were entered and never left (an interrupt between two instructions) do not stop the next ones."""
    reading = store.db.read()
    reading.__enter__()
    _add(store, "a")
    assert _ids(store) == ["a"]
    reading = store.db.read()
    reading.__enter__()
    other = threading.Thread(target=_add, args=(store, "b"))
    other.start()
    other.join()
    assert _ids(store) == ["a", "b"], "a look that was cut off must not freeze what is seen"
    writing = store.db.write()
    writing.__enter__().execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
    _add(store, "c")
    assert _ids(store) == ["a", "b", "c"]
    assert store.settings.read().timeout == 30


def test_interrupts_at_any_moment_lose_nothing_and_lock_nobody_out(queue_path: Path) -> None:
    """A process that is interrupted at random moments of its writes goes on; another one can always write."""
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
end = time.monotonic() + 1.5
while time.monotonic() < end:
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
        assert int(process.stdout.readline()) > 100
        store = Store(queue_path)
        store.db.set_lock_timeout(5)
        _add(store, "a")
        assert store.db.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        process.kill()
        process.communicate()


def _with_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(sys.modules["queuectl_nb"].__file__ or "").parents[1])}
