"""The file in use: threads, forks, interrupts, and files that vanish, fill up or cannot be written."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import BadEnvironment, Busy, QueuectlError
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.enqueue import enqueue
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable


def _add(store: Store, job_id: str, command: str = "true") -> None:
    enqueue(store.db, [JobSpec(command, id=job_id)], cwd="/", kept_env={}, now=time.time())


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
            store.reading.counts()
        connections.append(store.db.connection())
        together.wait()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len({id(each) for each in connections}) == 8
    assert store.reading.counts()["pending"] == 160


def _child(store: Store, queue: Any) -> None:
    _add(store, "of the child".replace(" ", "-"))
    queue.put((id(store.db.connection()), _ids(store)))


def test_a_fork_gets_a_connection_of_its_own(store: Store) -> None:
    """A child forked with an open store reads and writes through a new connection; the parent's stays whole."""
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
    assert store.db.connection() is mine
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
            store.db.be_patient(2)
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
    before = store.reading.revision()
    with pytest.raises(ZeroDivisionError), store.db.write() as connection:  # noqa: PT012
        connection.execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
        raise ZeroDivisionError
    assert store.settings.read().timeout == 30
    assert store.reading.revision() == before
    _add(store, "a")
    assert store.reading.revision() == (before[0] + 1, 0)


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
    version = store.db.version()
    assert store.db.version() == version
    other = threading.Thread(target=_add, args=(store, "a"))
    other.start()
    other.join()
    assert store.db.version() != version


def test_an_interrupt_in_a_write_leaves_neither_transaction_nor_gate(store: Store) -> None:
    """Ctrl+C in the middle of a write rolls it back and lets other writers in."""
    with pytest.raises(KeyboardInterrupt), store.db.write() as connection:  # noqa: PT012
        connection.execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
        signal.raise_signal(signal.SIGINT)
    with store.db.gate.hold(0):
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
        store.db.be_patient(5)
        _add(store, "a")
        assert store.db.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        process.kill()
        process.communicate()


def _with_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(sys.modules["queuectl_nb"].__file__ or "").parents[1])}


# ---------------------------------------------------------------------- busy


def test_another_programs_lock_makes_busy_after_the_patience(store: Store) -> None:
    """A SQLite tool that holds the write lock: exit code 4 after the patience, nothing changed, reading goes on."""
    _add(store, "a")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.db.be_patient(0.3)
    began = time.monotonic()
    with pytest.raises(Busy, match=r"another program has held .*queue\.db locked for 0\.3 seconds") as caught:
        _add(store, "b")
    assert 0.25 <= time.monotonic() - began < 3
    assert caught.value.exit_code == 4
    assert _ids(store) == ["a"]
    other.execute("ROLLBACK")
    _add(store, "b")
    assert _ids(store) == ["a", "b"]


def test_the_patience_is_for_gate_and_lock_together(store: Store) -> None:
    """Who waited at the gate for most of its patience does not begin anew at SQLite's lock."""
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    inside = threading.Event()

    def hold() -> None:
        with store.db.gate.hold(5):
            inside.set()
            time.sleep(1)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    store.db.be_patient(1.5)
    began = time.monotonic()
    with pytest.raises(Busy):
        _add(store, "a")
    assert 1 <= time.monotonic() - began < 2.2
    holder.join()
    assert store.db.connection().execute("PRAGMA busy_timeout").fetchone() == (1500,)


# ---------------------------------------------------------------------- vanished and replaced


def _delete(path: Path) -> None:
    path.unlink()


def _replace(path: Path) -> None:
    other = path.with_name("other")
    shutil.copyfile(path, other)
    other.replace(path)


def _remake(path: Path) -> None:
    path.unlink()
    path.touch()


@pytest.mark.parametrize("harm", [_delete, _replace, _remake])
@pytest.mark.parametrize("use", ["write", "read", "version"])
def test_a_file_that_was_replaced_is_told(store: Store, harm: Callable[[Path], None], use: str) -> None:
    """Deleted or replaced under an open store: exit code 3 at the next use, instead of writing where nobody reads."""
    _add(store, "a")
    harm(store.path)
    before = store.path.read_bytes() if store.path.exists() else None
    with pytest.raises(BadEnvironment, match="deleted or replaced while in use") as caught:
        {"write": lambda: _add(store, "b"), "read": store.reading.counts, "version": store.db.version}[use]()
    assert caught.value.exit_code == 3
    assert store.db.replaced()
    assert (store.path.read_bytes() if store.path.exists() else None) == before


def test_the_spool_gone_is_told(store: Store) -> None:
    """A spool folder that was removed under an open store: exit code 3, the file named."""
    shutil.rmtree(store.db.spool)
    with pytest.raises(BadEnvironment, match=r"cannot open the write lock .*write\.lock"):
        _add(store, "a")


# ---------------------------------------------------------------------- full and read-only


def test_a_full_disk_loses_nothing(mounted: Callable[[str], Path], template_path: Path) -> None:
    """Enqueue until the disk is full: exit code 3, what was acknowledged stays, and with room again all goes on."""
    folder = mounted("size=1m")
    path = folder / "q.db"
    shutil.copyfile(template_path, path)
    store = Store(path)
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * 200_000)
    acknowledged = []
    with pytest.raises(QueuectlError) as caught:  # noqa: PT012 - the one that is too many
        for number in range(1000):
            _add(store, f"job-{number}", "x" * 5000)
            acknowledged.append(f"job-{number}")
    assert caught.value.exit_code == 3
    assert "disk" in str(caught.value)
    assert acknowledged
    assert _ids(store) == acknowledged
    with pytest.raises(QueuectlError):
        _add(store, "too-much", "x" * 90_000)
    ballast.unlink()
    _add(store, "with-room", "x" * 5000)
    store.db.close()
    assert _ids(Store(path)) == [*acknowledged, "with-room"]
    assert store.db.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_makes_no_half_queue(mounted: Callable[[str], Path]) -> None:
    """A queue that cannot be made for want of room: exit code 3, and with room it is made."""
    folder = mounted("size=600k")
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"x" * 1024)
            file.flush()
    with pytest.raises(BadEnvironment) as caught:
        Store(folder / "q.db")
    assert str(caught.value).isprintable()
    ballast.unlink()
    assert Store(folder / "q.db").reading.counts()["pending"] == 0


def test_a_read_only_mount_is_named(mounted: Callable[..., Path], queue_path: Path, tmp_path: Path) -> None:
    """On a read-only mount a queue cannot be used or made: exit code 3, the file named, nothing lost."""
    store = Store(queue_path)
    _add(store, "a")
    store.db.close()
    folder = mounted("ro", tmp_path)
    for name in ("queue.db", "new.db"):
        with pytest.raises(BadEnvironment, match=name.replace(".", r"\.")) as caught:
            _add(Store(folder / name), "b")
        assert caught.value.exit_code == 3
    assert _ids(Store(queue_path)) == ["a"]


def test_a_mount_that_turns_read_only_is_named(mounted: Callable[..., Path], template_path: Path) -> None:
    """A mount that turns read-only under an open store (as ext4 does on errors): exit code 3 at the next write."""
    folder = mounted("size=1m")
    path = folder / "q.db"
    shutil.copyfile(template_path, path)
    store = Store(path)
    _add(store, "a")
    store.db.close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with pytest.raises(BadEnvironment) as caught:
        _add(store, "b")
    assert caught.value.exit_code == 3
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    _add(store, "b")
    assert _ids(store) == ["a", "b"]


def test_a_damaged_page_is_named(queue_path: Path) -> None:
    """A page overwritten with noise: exit code 3 at the first use that meets it, the damage named."""
    store = Store(queue_path)
    _add(store, "a")
    with store.db.read() as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    store.db.close()
    with queue_path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xa5" * size)
    with pytest.raises(BadEnvironment, match=r"queue\.db is damaged") as caught:
        Store(queue_path).jobs.get("a")
    assert caught.value.exit_code == 3


def test_a_bug_is_not_called_a_bad_file(store: Store) -> None:
    """A wrong statement of ours stays what it is, so that it is seen as a bug."""
    with pytest.raises(sqlite3.ProgrammingError), store.db.read() as connection:
        connection.execute("SELECT ?")
    with pytest.raises(sqlite3.IntegrityError), store.db.write() as connection:
        connection.execute("INSERT INTO clock (only_row) VALUES (2)")
    _add(store, "a")
