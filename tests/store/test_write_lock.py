"""The write lock: one writer at a time, whatever its process or thread, and nobody waits for the dead."""

from __future__ import annotations

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

import queuectl_nb
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.store.write_lock import LockRequest, WriteLock, _open_descriptors

HOLDER = """
import sys
from pathlib import Path
from queuectl_nb.store.write_lock import WriteLock
with WriteLock(Path(sys.argv[1])).request(5):
    print("held", flush=True)
    sys.stdin.readline()
"""
COUNTER = """
from pathlib import Path
from queuectl_nb.store.write_lock import WriteLock
lock, count = WriteLock(Path(sys.argv[1])), Path(sys.argv[2])
# go
for _ in range(200):
    with lock.request(30):
        count.write_text(str(int(count.read_text()) + 1))
"""


@pytest.fixture
def lock(tmp_path: Path) -> WriteLock:
    """Return a lock."""
    return WriteLock(tmp_path / "write.lock")


def _is_free(lock: WriteLock) -> bool:
    with suppress(Busy), lock.request(0.01):
        return True
    return False


def _wait_for_waiters() -> None:
    for each in threading.enumerate():
        if each.name == "queuectl-write-lock":
            each.join(10)


def _holder(lock: WriteLock) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(queuectl_nb.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_processes_take_turns(tmp_path: Path, processes: Any) -> None:
    """Four processes that count in one file, 200 times each, lose no count."""
    count = tmp_path / "count"
    count.write_text("0")
    for _ in range(4):
        processes.add(COUNTER, tmp_path / "write.lock", count)
    processes.start_all()
    assert count.read_text() == "800"


def test_threads_take_turns(lock: WriteLock) -> None:
    """Eight threads of one process are never inside together."""
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with lock.request(30):
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (inside, most) == (0, 1)


def test_timeout_ends(lock: WriteLock) -> None:
    """Who waits longer than its patience is told that the queue is busy, exit code 4, and holds nothing."""
    holder = _holder(lock)
    began = time.monotonic()
    with pytest.raises(Busy, match=r"held its write lock for 0\.2 seconds") as caught, lock.request(0.2):
        pass
    assert 0.2 <= time.monotonic() - began < 5
    assert caught.value.exit_code == 4
    holder.communicate("\n")
    assert _is_free(lock)


def test_an_abandoned_waiter_never_keeps_the_lock(lock: WriteLock) -> None:
    """Ten who gave up while another process held the lock do not hold it when that one lets go."""
    holder = _holder(lock)
    for _ in range(10):
        assert not _is_free(lock)
    holder.communicate("\n")
    _wait_for_waiters()
    assert _is_free(lock)
    assert not _open_descriptors


def test_without_a_thread_to_wait_in_the_lock_is_busy(lock: WriteLock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine has no room for one more thread nobody waits, and that is told in a line."""

    def full(_: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    holder = _holder(lock)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        with pytest.raises(Busy, match="no thread can be started"), lock.request(30):
            pass
    assert not _open_descriptors
    holder.communicate("\n")
    assert _is_free(lock)


def test_who_waits_again_takes_the_place_that_it_left(lock: WriteLock) -> None:
    """A worker that tries for an hour, while somebody stands still inside, keeps one place in the queue, not thousands.

    Each costs a thread and a descriptor: after a thousand the process could open nothing any more.
    """
    holder = _holder(lock)
    for _ in range(20):
        assert not _is_free(lock)
    assert [each.name for each in threading.enumerate()].count("queuectl-write-lock") == 1
    assert len(_open_descriptors) == 1
    threading.Timer(0.1, holder.communicate, ["\n"]).start()
    with lock.request(30):
        assert not _is_free(lock), "the place that was left is that of one waiter only"
    _wait_for_waiters()
    assert _is_free(lock)
    assert not _open_descriptors


def test_threads_that_wait_again_each_get_the_lock_alone(lock: WriteLock) -> None:
    """Of many threads that gave up and wait again no two ever share a place."""
    holder = _holder(lock)
    inside = most = entered = 0

    def work() -> None:
        nonlocal inside, most, entered
        for _ in range(3):
            assert not _is_free(lock)
        barrier.wait()
        with lock.request(30):
            inside += 1
            most = max(most, inside)
            time.sleep(0)
            inside -= 1
            entered += 1

    barrier = threading.Barrier(9)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    barrier.wait()
    holder.communicate("\n")
    for each in threads:
        each.join(20)
    assert (most, entered) == (1, 8)
    _wait_for_waiters()
    assert _is_free(lock)
    assert not _open_descriptors


def test_a_waiter_gets_the_lock_when_it_opens(lock: WriteLock) -> None:
    """Who waits is woken by the release, and holds the lock alone then."""
    holder = _holder(lock)
    threading.Timer(0.1, holder.communicate, ["\n"]).start()
    with lock.request(30):
        assert not _is_free(lock)
    assert _is_free(lock)


def test_the_death_of_the_holder_opens_the_gate(lock: WriteLock) -> None:
    """After kill -9 of the process that held it the lock is free."""
    holder = _holder(lock)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert _is_free(lock)


def test_an_interrupt_inside_leaves_the_lock_open(lock: WriteLock) -> None:
    """Ctrl+C while inside gives the lock up."""
    with pytest.raises(KeyboardInterrupt), lock.request(5):
        signal.raise_signal(signal.SIGINT)
    assert _is_free(lock)
    assert not _open_descriptors


def test_an_interrupt_while_waiting_leaves_the_lock_open(lock: WriteLock) -> None:
    """Ctrl+C ends a wait at once, and what was waited for is not taken later."""
    holder = _holder(lock)
    main = threading.main_thread().ident or 0
    began = time.monotonic()
    threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt), lock.request(30):
        pass
    assert time.monotonic() - began < 10
    holder.communicate("\n")
    _wait_for_waiters()
    assert _is_free(lock)
    assert not _open_descriptors


def _in_child(action: Any) -> int:
    """Fork, let the child act, and return its pid; it lives until it is killed."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            action()
            os.write(writable, b"x")
            time.sleep(60)
        os._exit(1)
    os.close(writable)
    assert os.read(readable, 1) == b"x"
    os.close(readable)
    return pid


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_child_forked_inside_does_not_keep_the_gate(lock: WriteLock) -> None:
    """A process that was forked while its parent was inside holds nothing once the parent has left."""
    with lock.request(5):
        pid = _in_child(lambda: None)
    try:
        assert _is_free(lock)
    finally:
        _end(pid)


def test_a_forked_child_waits_its_turn(lock: WriteLock) -> None:
    """A child forked inside is no owner: it finds the lock held, and its own end of the block frees nothing."""

    def act() -> None:
        assert not _is_free(lock)
        hold.release()
        assert not _is_free(lock)

    hold = LockRequest(lock.path)
    hold.acquire(5)
    try:
        _end(_in_child(act))
        assert not _is_free(lock)
    finally:
        hold.release()
    assert _is_free(lock)


def test_a_lock_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Without its folder, and with a planted link in its place, the lock is refused with exit code 3."""
    planted = tmp_path / "planted"
    planted.symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "gone" / "write.lock", planted):
        with pytest.raises(BadEnvironment, match="cannot open the write lock"), WriteLock(path).request(1):
            pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_childs_child_finds_the_lock_usable(lock: WriteLock) -> None:
    """Forks of forks, three deep, each take the lock before and after they fork."""

    def generation(left: int) -> None:
        assert _is_free(lock)
        if left:
            _end(_in_child(lambda: generation(left - 1)))
        assert _is_free(lock)

    generation(3)
