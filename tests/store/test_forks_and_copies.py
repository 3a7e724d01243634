"""Forks and copies of the queue's files lose no acknowledged write (promises P16 and P16b)."""

from __future__ import annotations

import errno
import fcntl
import gc
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import queuectl_nb
from queuectl_nb import BadEnvironment, Queue
from queuectl_nb.store import connection_pool, connection_use
from queuectl_nb.store.connection_use import InUse, users
from queuectl_nb.store.shared_locks import SharedLocks
from queuectl_nb.store.store import Store
from tests.engine.harness import until
from tests.store.stored_jobs import add_job

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(queuectl_nb.__file__).parents[1]


def other_process(path: Path, code: str = "") -> str:
    """Open the queue as ``q`` in another process, run ``code``, and close its connections."""
    source = f"""
from queuectl_nb import Queue
q = Queue({str(path)!r})
{code}
with q.store.db.read() as connection:
    print(*(job_id for (job_id,) in connection.execute("SELECT id FROM jobs")))
q.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def copy_everything(path: Path) -> None:
    """Copy the folder, including ``-wal`` and ``-shm``."""
    shutil.copytree(path.parent, path.parent.with_name("copy"), ignore=shutil.ignore_patterns("*.fifo"))


def zip_everything(path: Path) -> None:
    """Pack the database and its sidecar files."""
    with zipfile.ZipFile(path.parent.with_name("queue.zip"), "w") as archive:
        for each in path.parent.glob("queue.db*"):
            if each.is_file():
                archive.write(each)


COPIES: dict[str, Callable[[Path], object]] = {
    "copy": lambda path: shutil.copy(path, path.with_name("backup")),
    "read": lambda path: path.read_bytes(),
    "copy of the folder": copy_everything,
    "zip": zip_everything,
}


@pytest.fixture
def own_folder(template_path: Path, tmp_path: Path) -> Path:
    """Return a new queue in its own folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    path = folder / "queue.db"
    shutil.copyfile(template_path, path)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_loses_no_later_write(own_folder: Path, copy: str) -> None:
    """Reading the files drops SQLite's locks; jobs enqueued afterwards are still visible to all."""
    queue = Queue(own_folder)
    queue.enqueue("true", id="before")
    for number in range(3):
        shutil.rmtree(own_folder.parent.with_name("copy"), ignore_errors=True)
        COPIES[copy](own_folder)
        other_process(own_folder, "q.enqueue('true')")
        queue.enqueue("true", id=f"after-{number}")
        assert f"after-{number}" in other_process(own_folder)
    assert len(queue.jobs()) == 7
    queue.close()


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="the system has no open-file-description locks")
def test_the_shared_memory_file_stays_locked(own_folder: Path) -> None:
    """Nobody else can take it for that of a crashed process, and empty it, after this process has read it."""
    queue = Queue(own_folder)
    queue.enqueue("true")
    for _ in range(2):
        with own_folder.with_name("queue.db-shm").open("r+b") as file, pytest.raises(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)  # the byte that SQLite calls dead man switch
    queue.close()


def test_a_connection_that_cannot_be_protected_is_not_used(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the limit; nothing stays open, and the next use opens a connection with the locks."""
    store = Store(own_folder)
    store.db.close()
    before = len(os.listdir("/proc/self/fd"))
    open_file = os.open

    def fail(path: str, flags: int, *rest: int) -> int:
        if str(path).endswith("-shm"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return open_file(path, flags, *rest)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(BadEnvironment, match="too many open files: the limit is"):
        add_job(store, "a")
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not SharedLocks.uses(store.db.identity)
    add_job(store, "a")
    assert SharedLocks.uses(store.db.identity)


def test_the_last_connection_still_removes_the_log(own_folder: Path) -> None:
    """The locks end with the connections: after the last close the database is a single file again."""
    first, second = Queue(own_folder), Queue(own_folder)
    first.enqueue("true", id="a")
    _ = second.db["job_view"].count
    first.close()
    assert own_folder.with_name("queue.db-wal").exists()
    second.close()
    assert not own_folder.with_name("queue.db-wal").exists()
    assert not own_folder.with_name("queue.db-shm").exists()


def test_a_queue_that_is_forgotten_is_closed(own_folder: Path) -> None:
    """A queue of which no reference is left holds neither connections nor locks."""
    store = Store(own_folder)
    add_job(store, "a")
    assert own_folder.with_name("queue.db-wal").exists()
    del store
    gc.collect()
    assert not own_folder.with_name("queue.db-wal").exists()


def test_a_queue_that_is_forgotten_while_another_is_closed(own_folder: Path, queue: Queue) -> None:
    """A finalizer does not wait for another thread; the connection is closed later."""
    store = Store(own_folder)
    add_job(store, "a")
    with ThreadPoolExecutor(1) as executor:
        executor.submit(SharedLocks.mutex.acquire).result(60)
        del store
        gc.collect()
        assert own_folder.with_name("queue.db-wal").exists()
        executor.submit(SharedLocks.mutex.release).result(60)
        executor.submit(queue.enqueue, "true").result(60)
    assert not own_folder.with_name("queue.db-wal").exists()


def test_an_interrupt_of_a_finalizer(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is closed, and the interrupt is raised after that."""
    store = Store(own_folder)
    add_job(store, "a")
    monkeypatch.setattr(SharedLocks, "checkpoint_if_renamed", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - at any point after the finalizer
        del store
        gc.collect()
        threading.Event().wait(60)
    assert not own_folder.with_name("queue.db-wal").exists()


def test_a_connection_without_locks_is_closed() -> None:
    """It belongs to a queue without a write-ahead log, which needs no locks of ours."""
    connection = sqlite3.connect(":memory:")
    SharedLocks.close(connection)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_connections_of_ended_threads_are_closed(own_folder: Path) -> None:
    """The connection of a thread that has ended is closed."""
    queue = Queue(own_folder)
    thread = threading.Thread(target=queue.enqueue, args=("true",))
    thread.start()
    thread.join()
    queue.close()
    queue.enqueue("true")
    queue.close()
    assert not own_folder.with_name("queue.db-wal").exists()


def test_connections_of_living_threads_stay_open(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to Python 3.12, an interrupted ``join()`` makes a thread seem to have ended."""
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        used = first.submit(queue.store.db.connection).result()
        monkeypatch.setattr(threading.Thread, "is_alive", lambda _thread: False)
        second.submit(queue.enqueue, "true").result()
        monkeypatch.undo()
        assert first.submit(queue.store.db.connection).result() is used
        first.submit(queue.enqueue, "true").result()


def test_a_connection_is_opened_while_a_thread_starts(queue: Queue) -> None:
    """A garbage collection may run a finalizer within the lock of ``threading``, which waits for the write lock."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(queue.close).result(60)
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            opened = executor.submit(queue.store.db.connection)
            done, _ = wait([opened], 30)
        assert done


EXIT = """
import atexit, sys, threading
atexit.register(lambda: print(*used[0].execute("SELECT 1").fetchone()))  # runs last
from queuectl_nb import Queue
from queuectl_nb.store.connection_use import InUse, users

queue, used, entered = Queue(sys.argv[1]), [], threading.Event()

def use():
    with InUse():
        used.append(queue.store.db.connection())
        entered.set()
        threading.Event().wait()

threading.Thread(target=use, daemon=True).start()
entered.wait()
"""


def test_an_exit_leaves_connections_that_are_in_use(queue_path: Path) -> None:
    """Daemon threads run on while the interpreter exits; closing their connections crashed it."""
    done = subprocess.run(
        [sys.executable, "-c", EXIT, str(queue_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "1\n"


def enqueue_in_child(queue: Queue) -> None:
    """Enqueue through the object of the parent."""
    for _ in range(20):
        queue.enqueue("true")


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_children_of_every_start_method_enqueue(queue: Queue, method: str) -> None:
    """Children of multiprocessing and their parent enqueue concurrently; nothing is lost when either ends first."""
    queue.enqueue("true")
    _ = queue.db["job_view"].count  # another connection that a fork must not copy
    context: Any = multiprocessing.get_context(method)
    children = [context.Process(target=enqueue_in_child, args=(queue,)) for _ in range(3)]
    for child in children:
        child.start()
    for _ in range(20):
        queue.enqueue("true")
    for child in children:
        child.join(100)
        assert child.exitcode == 0
    queue.enqueue("true")
    assert queue.db["job_view"].count == 82
    assert len(other_process(queue.path).split()) == 82


DAEMON = """
import os, sys
from queuectl_nb import Queue
q = Queue(sys.argv[1])
q.enqueue("true", id="parent")
parent = os.getpid()
read, write = os.pipe()
if os.fork():
    os.read(read, 1)  # until the child has a connection
    PARENT_ENDS
q.enqueue("true", id="child-0")
os.write(write, b"x")
os.setsid()
while os.getppid() == parent:
    os.sched_yield()
for number in range(1, 21):
    q.enqueue("true", id=f"child-{number}")
print("acknowledged", flush=True)
CHILD_ENDS
"""


@pytest.mark.parametrize("parent_ends", ["sys.exit()", "os._exit(0)", "q.close(); sys.exit()"])
@pytest.mark.parametrize("child_ends", ["sys.exit()", "os._exit(0)"])
def test_a_daemonized_child_loses_nothing(queue_path: Path, parent_ends: str, child_ends: str) -> None:
    """A forked child that outlives its parent loses no enqueue."""
    script = DAEMON.replace("PARENT_ENDS", parent_ends).replace("CHILD_ENDS", child_ends)
    done = subprocess.run(
        [sys.executable, "-c", script, str(queue_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    assert done.stdout == b"acknowledged\n"  # read to its end, which is the child's
    assert len(other_process(queue_path).split()) == 22


def test_a_fork_within_a_transaction_is_refused_in_the_child(queue: Queue) -> None:
    """A child forked within a transaction gets an error; the parent's transaction commits."""
    read, write = os.pipe()
    with queue.store.db.write():
        pid = os.fork()
        if not pid:
            try:
                queue.enqueue("true")
            except BadEnvironment as error:
                os.write(write, str(error).encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        assert b"forked during a transaction" in answer.read()
    os.waitpid(pid, 0)
    queue.enqueue("true", id="later")
    assert other_process(queue.path).split() == ["later"]


def fork() -> None:
    """Fork a child that does nothing, and wait for its end."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def test_busy_threads_do_not_delay_forks(queue: Queue) -> None:
    """There is hardly a moment at which no thread uses a connection: a fork that waits keeps others from starting."""
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            queue.enqueue("true")

    with ThreadPoolExecutor(3) as executor:
        calls = [executor.submit(use) for _ in range(3)]
        until(lambda: len(users.others()) > 1)
        for _ in range(10):
            fork()
        stop.set()
    assert [call.exception() for call in calls] == [None] * 3
    queue.enqueue("true", id="last")
    assert "last" in other_process(queue.path)


def test_an_interrupt_of_a_waiting_fork_leaves_no_lock(queue: Queue) -> None:
    """It is raised in the code that has forked, once the fork has waited for the other threads."""
    interrupts = connection_pool._fork.interrupts
    entered = threading.Event()

    def use() -> None:
        with InUse():
            entered.set()
            until(lambda: users._forking)
            os.kill(os.getpid(), signal.SIGINT)
            until(lambda: interrupts._pending)

    with ThreadPoolExecutor(1) as executor:
        done = executor.submit(use)
        assert entered.wait(60)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - at any point after the fork
            fork()
            threading.Event().wait(60)
        assert time.monotonic() - began < 50
        done.result(60)
        executor.submit(queue.enqueue, "true").result(60)
    fork()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_code_of_others_while_a_connection_is_closed(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A garbage collection at any point may run code that uses a queue, also beside a thread that forks."""
    ThreadPoolExecutor(1).submit(queue.enqueue, "true").result(60)
    close = SharedLocks.checkpoint_if_renamed
    entered = threading.Event()
    closing: list[int] = []

    def collect(locks: SharedLocks, connection: sqlite3.Connection) -> None:
        if threading.get_ident() in closing:
            entered.set()
            until(lambda: users._forking)
            queue.enqueue("true", id="later")
        close(locks, connection)

    def use() -> None:
        queue.store.db.connection()
        closing.append(threading.get_ident())
        queue.close()
        closing.clear()

    monkeypatch.setattr(SharedLocks, "checkpoint_if_renamed", collect)
    with ThreadPoolExecutor(1) as executor:
        done = executor.submit(use)
        assert entered.wait(60)
        began = time.monotonic()
        fork()
        done.result(60)
    assert time.monotonic() - began < 25, "neither waited for the other"


def test_a_fork_leaves_connections_that_stay_in_use(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork does not wait for ever; threads continue with their connections, and children do not close them."""
    monkeypatch.setattr(connection_use, "FORK_TIMEOUT_S", 0.1)
    entered, go_on = threading.Event(), threading.Event()

    def use() -> None:
        with InUse():
            connection = queue.store.db.connection()  # not in a transaction
            entered.set()
            assert go_on.wait(60)
            connection.execute("SELECT 1")

    with ThreadPoolExecutor(1) as executor:
        done = executor.submit(use)
        assert entered.wait(60)
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                queue.enqueue("true")
            except BadEnvironment as error:
                os.write(write, str(error).encode())
            os._exit(0)
        go_on.set()
        done.result(60)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        assert b"forked during a transaction" in answer.read()
    os.waitpid(pid, 0)
    queue.enqueue("true", id="later")
    assert other_process(queue.path).split() == ["later"]


def test_a_closed_connection_leaves_no_lock(queue: Queue) -> None:
    """The write lock is released whatever has become of the connection."""
    with pytest.raises(sqlite3.ProgrammingError), queue.store.db.write() as connection:
        connection.close()
    queue.store.db.close()
    assert not users.threads
    queue.store.db.lock_timeout_s = 0.0
    with queue.store.db.write():
        pass


FORKED_BY_C_CODE = """
import ctypes, os, sys
from queuectl_nb import BadEnvironment, Queue

q = Queue(sys.argv[1])
q.enqueue("true")
acknowledged, errors = 1, []
read, write = os.pipe()
if not ctypes.PyDLL(None).fork():
    os.read(read, 1)  # until the parent has closed its connection
    for _ in range(3):
        try:
            q.enqueue("true")
            acknowledged += 1
        except BadEnvironment as error:
            errors.append(str(error))
    print(acknowledged, *errors, sep="\\n", flush=True)
    sys.exit()
q.close()
os.write(write, b".")
"""


def test_a_fork_by_c_code_is_refused_in_the_child(queue_path: Path) -> None:
    """A fork that bypasses Python, such as daemon(3), loses nothing: the child cannot use what it has inherited."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED_BY_C_CODE, str(queue_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    acknowledged, *errors = done.stdout.splitlines()
    assert len(other_process(queue_path).split()) == int(acknowledged)
    assert len(errors) == 3
    assert "forked by C code" in errors[0]


INTERRUPTED = """
import os, signal, sys, threading, time
from queuectl_nb import Queue

q = Queue(sys.argv[1])
q.enqueue("true", id="first")
acknowledged = 1
stop = threading.Event()

def work():
    global acknowledged
    while not stop.is_set():
        q.enqueue("true")
        acknowledged += 1
        q.store.reader.counts()

def interrupt(signum, frame):
    while frame is not None and frame.f_code is not work.__code__:
        frame = frame.f_back
    if frame is not None:  # the loop below is not what is tested
        raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupt)
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
print("ready", flush=True)
while not stop.is_set():
    try:
        work()
    except KeyboardInterrupt:
        pass
print(acknowledged, flush=True)
threading.Event().wait()  # idle, with whatever is left held, until it is killed
"""


@pytest.mark.parametrize("interrupts", [300, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(0)])])
def test_interrupts_leave_no_lock(queue: Queue, interrupts: int) -> None:
    """A process that was interrupted at any moment holds neither the write lock nor a transaction while idle."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(queue.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            for number in range(interrupts):
                process.send_signal(signal.SIGINT)
                if number % 3 == 0:
                    queue.enqueue("true")  # it gets its turn: nothing is held
            process.stdin.close()
            acknowledged = int(process.stdout.readline())
            before = len(queue.jobs())
            queue.enqueue("true")
            assert before >= acknowledged
            assert queue.store.db.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        finally:
            process.kill()


@pytest.mark.parametrize("readers", [0, 1])
def test_rename_of_the_file_alone(store: Store, tmp_path: Path, readers: int) -> None:
    """Jobs that were acknowledged before a queue in use was renamed without its log are in the renamed file."""
    others = [Store(store.path) for _ in range(readers)]
    for number in range(20):
        add_job(store, f"job-{number}")
    renamed = tmp_path / "renamed.db"
    store.path.rename(renamed)
    for each in (store, *others):
        each.db.close()
    opened = Store(renamed)
    assert len(opened.reader.states_of([f"job-{number}" for number in range(20)])) == 20
    opened.db.close()
