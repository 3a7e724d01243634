"""The write lock: one writer at a time among processes and threads, and no wait for a dead process."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import queuectl_nb
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.store import write_lock
from queuectl_nb.store.write_lock import LockRequest, WriteLock, _open_descriptors
from tests.engine.harness import in_threads, until

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


def _is_free(lock: WriteLock, timeout_s: float = 20) -> bool:
    """Return whether the lock can be had; a waiter abandoned earlier may first have to get it and end."""
    with suppress(Busy), lock.request(timeout_s):
        return True
    return False


def _is_held(lock: WriteLock) -> bool:
    return not _is_free(lock, 0.01)


def _wait_for_waiters() -> None:
    for each in threading.enumerate():
        if each.name == "queuectl-write-lock":
            each.join(60)


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


def test_processes_exclude_each_other(tmp_path: Path, processes: Any) -> None:
    """Four processes that count in one file, 200 times each, lose no count."""
    count = tmp_path / "count"
    count.write_text("0")
    for _ in range(4):
        processes.add(COUNTER, tmp_path / "write.lock", count)
    processes.start_all()
    assert count.read_text() == "800"


def test_threads_exclude_each_other(lock: WriteLock) -> None:
    """Eight threads of one process never hold the lock together."""
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with lock.request(30):
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    with in_threads(*[work] * 8):
        pass
    assert (inside, most) == (0, 1)


def test_timeout(lock: WriteLock) -> None:
    """A wait longer than the timeout is exit code 4, and nothing is held."""
    holder = _holder(lock)
    began = time.monotonic()
    held = r"^the queue is busy: another process has held its write lock for 0\.2 seconds; try again$"
    with pytest.raises(Busy, match=held) as caught, lock.request(0.2):
        pass
    assert time.monotonic() - began >= 0.2
    assert caught.value.exit_code == 4
    holder.communicate("\n")
    assert _is_free(lock)


def test_an_abandoned_waiter_never_keeps_the_lock(lock: WriteLock) -> None:
    """Ten waiters that timed out do not hold the lock when its owner releases it."""
    holder = _holder(lock)
    for _ in range(10):
        assert _is_held(lock)
    holder.communicate("\n")
    _wait_for_waiters()
    assert _is_free(lock)
    assert not _open_descriptors


def test_no_thread_available(lock: WriteLock, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started to wait in, the error is one line, at once."""

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


def test_a_finalizer_in_the_waiting_thread(lock: WriteLock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer that a garbage collection calls there does not wait for the thread that waits for this one."""
    real, refused = fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        real(descriptor, operation)
        if threading.current_thread().name == "queuectl-write-lock":
            with pytest.raises(Busy) as caught:
                LockRequest(lock).acquire(1)
            refused.append(str(caught.value))

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock.request(20):
        waiting = threading.Thread(target=_is_free, args=(lock,))
        waiting.start()
        until(lambda: any(each.name == "queuectl-write-lock" for each in threading.enumerate()))
    waiting.join()
    assert [text.partition(": ")[2].partition(",")[0] for text in refused] == [
        "this thread is in the middle of another call on it"
    ]


def test_a_finalizer_at_the_first_request_of_a_thread(lock: WriteLock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer can request the lock while the data of the thread are made."""
    made: list[str] = []

    def make() -> weakref.WeakValueDictionary[Any, Any]:
        made.append(threading.current_thread().name)
        if len(made) == 1:
            with lock.request(20):
                pass
        return weakref.WeakValueDictionary()

    monkeypatch.setattr(write_lock, "weakref", SimpleNamespace(WeakValueDictionary=make))
    free: list[bool] = []
    thread = threading.Thread(target=lambda: free.append(_is_free(lock)), name="new")
    thread.start()
    thread.join()
    assert (free, made) == ([True], ["new", "new"])


def test_repeated_waits_reuse_one_thread(lock: WriteLock) -> None:
    """A worker that waits again and again for a lock keeps one waiting thread, not thousands.

    Each costs a thread and a descriptor: after a thousand the process could open nothing any more.
    """
    holder = _holder(lock)
    for _ in range(20):
        assert _is_held(lock)
    assert [each.name for each in threading.enumerate()].count("queuectl-write-lock") == 1
    assert len(_open_descriptors) == 1
    threading.Timer(0.1, holder.communicate, ["\n"]).start()
    with lock.request(30):
        assert _is_held(lock), "the place that was left is that of one waiter only"
    _wait_for_waiters()
    assert _is_free(lock)
    assert not _open_descriptors


def test_repeated_waits_of_threads(lock: WriteLock) -> None:
    """Threads that timed out and wait again never hold the lock together."""
    holder = _holder(lock)
    inside = most = entered = 0

    def work() -> None:
        nonlocal inside, most, entered
        for _ in range(3):
            assert _is_held(lock)
        barrier.wait()
        with lock.request(30):
            inside += 1
            most = max(most, inside)
            time.sleep(0)
            inside -= 1
            entered += 1

    barrier = threading.Barrier(9)
    with in_threads(*[work] * 8):
        barrier.wait()
        holder.communicate("\n")
    assert (most, entered) == (1, 8)
    _wait_for_waiters()
    assert _is_free(lock)
    assert not _open_descriptors


def test_waiter_is_woken(lock: WriteLock) -> None:
    """A waiter is woken by the release and then holds the lock alone."""
    holder = _holder(lock)
    threading.Timer(0.1, holder.communicate, ["\n"]).start()
    with lock.request(30):
        assert _is_held(lock)
    assert _is_free(lock)


def test_death_of_the_holder(lock: WriteLock) -> None:
    """After kill -9 of the process that held it, the lock is free."""
    holder = _holder(lock)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert _is_free(lock)


def test_interrupt_while_holding(lock: WriteLock) -> None:
    """Ctrl+C while holding the lock releases it."""
    with pytest.raises(KeyboardInterrupt), lock.request(5):
        signal.raise_signal(signal.SIGINT)
    assert _is_free(lock)
    assert not _open_descriptors


def test_interrupt_while_waiting(lock: WriteLock) -> None:
    """Ctrl+C ends a wait at once, and the lock is not taken later."""
    holder = _holder(lock)
    main = threading.main_thread().ident or 0
    began = time.monotonic()
    threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt), lock.request(100):
        pass
    assert time.monotonic() - began < 50
    holder.communicate("\n")
    _wait_for_waiters()
    assert _is_free(lock)
    assert not _open_descriptors


def _in_child(action: Any) -> int:
    """Fork, run the action in the child, and return its pid; it lives until it is killed."""
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


def test_fork_while_holding(lock: WriteLock) -> None:
    """A process forked while its parent held the lock holds nothing after the parent's release."""
    with lock.request(5):
        pid = _in_child(lambda: None)
    try:
        assert _is_free(lock)
    finally:
        _end(pid)


def test_forked_child_is_not_an_owner(lock: WriteLock) -> None:
    """A child forked inside the block finds the lock held, and its own exit releases nothing."""

    def act() -> None:
        assert _is_held(lock)
        hold.release()
        assert _is_held(lock)

    hold = LockRequest(lock)
    hold.acquire(5)
    try:
        _end(_in_child(act))
        assert _is_held(lock)
    finally:
        hold.release()
    assert _is_free(lock)


def test_invalid_lock_file(tmp_path: Path) -> None:
    """Without its folder, or with a link in its place, the lock is exit code 3."""
    planted = tmp_path / "planted"
    planted.symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "gone" / "write.lock", planted):
        with pytest.raises(BadEnvironment, match="cannot open the write lock"), WriteLock(path).request(1):
            pass
    assert not (tmp_path / "elsewhere").exists()


def test_nested_forks(lock: WriteLock) -> None:
    """Processes forked three levels deep each take the lock before and after they fork."""

    def generation(left: int) -> None:
        assert _is_free(lock)
        if left:
            _end(_in_child(lambda: generation(left - 1)))
        assert _is_free(lock)

    generation(3)


def test_a_request_without_patience_leaves_no_waiter(lock: WriteLock) -> None:
    """With a timeout of 0 a lock that is held is refused at once, without a thread that waits for it."""
    with lock.request(1):
        threads = threading.active_count()
        with pytest.raises(Busy), lock.request(0):
            pass
        assert threading.active_count() == threads
    with lock.request(0):
        pass
