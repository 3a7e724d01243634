"""Process trees: adopt orphans, find the processes of a job and kill all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.engine.proc_files import attempt_token, file_ids, holds_any, read_stat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    import psutil

__all__ = [
    "Session",
    "become_subreaper",
    "descendants",
    "has_children",
    "holders",
    "is_suspended",
    "is_zombie",
    "kill_descendants",
    "kill_tree",
    "kill_until_gone",
    "send_signal",
    "use_one_heap",
]

_PR_SET_CHILD_SUBREAPER = 36
_M_ARENA_MAX = -8  # malloc.h
MAX_STOP_ROUNDS = 20
"""Maximum number of searches for processes that were forked while others were being stopped."""
UNINTERRUPTIBLE_S = 1.0
"""Time for which an exit waits for processes that do not die when they are killed."""
_NS_PER_S = 1_000_000_000


class Session(NamedTuple):
    """The session of a process that was started between two times (nanoseconds of the boot clock)."""

    leader: int
    began_ns: int
    ended_ns: int


def become_subreaper() -> bool:
    """Make orphaned descendants children of this process; return False if the system does not support it."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def use_one_heap() -> None:
    """Let threads that start from now on share a heap: the GNU C library gives each its own, which keeps its peak."""
    import ctypes

    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def descendants(pid: int, exclude: Collection[int] = (), *, scan: bool = False) -> list[psutil.Process]:
    """Return the live descendants of ``pid`` except the subtrees rooted at ``exclude``.

    Read the kernel's lists of children, which may miss one while others come and go. ``scan`` reads all processes
    instead: ten times slower, but complete.
    """
    children_of = _read_children if _HAS_CHILDREN_FILES and not scan else _scan_children()
    found: list[psutil.Process] = []
    todo = [pid]
    while todo:
        for child in children_of(todo.pop()):
            if child.pid not in exclude:
                todo.append(child.pid)
                if not is_zombie(child):
                    found.append(child)
    return found


_HAS_CHILDREN_FILES = os.path.exists("/proc/thread-self/children")


def has_children(exclude: Collection[int]) -> bool:
    """Return True if this process has children, dead ones included, besides ``exclude``.

    Only children of the main thread count: in a worker it starts all of them, and it adopts orphans.
    """
    pid = os.getpid()
    if not _HAS_CHILDREN_FILES:
        return bool(descendants(pid, exclude))
    return any(child not in exclude for child in _children_of_thread(pid, pid))


def _child_pids(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [child for task in os.listdir(f"/proc/{pid}/task") for child in _children_of_thread(pid, task)]
    return []


def _children_of_thread(pid: int, task: int | str) -> list[int]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", "rb", buffering=0) as listed:
        return [int(child) for child in listed.readall().split()]
    return []


def _read_children(pid: int) -> list[psutil.Process]:
    """Return the children of ``pid`` from /proc: a process that forks in a loop is gone before a full scan ends."""
    import psutil

    found = []
    for each in _child_pids(pid):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(each)
            if process.ppid() == pid:  # the pid was not reused meanwhile
                found.append(process)
    return found


def _all_processes() -> Iterator[psutil.Process]:
    """Yield all processes. ``psutil.process_iter`` misses one with the pid of a process that it returned earlier."""
    import psutil

    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error):
            yield psutil.Process(pid)


def _scan_children() -> Callable[[int], list[psutil.Process]]:
    """Scan all processes and return a function that looks up the children of a pid."""
    import psutil

    children: dict[int, list[psutil.Process]] = {}
    for process in _all_processes():
        with contextlib.suppress(psutil.Error):
            children.setdefault(process.ppid(), []).append(process)
    return lambda pid: children.get(pid, [])


def is_zombie(process: psutil.Process) -> bool:
    """Return True if the process is dead, reaped or not.

    A process whose first thread has ended looks like a zombie while its other threads run.
    """
    import psutil

    try:
        if process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return not process.is_running()  # the pid was reused
        return process.num_threads() <= 1
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def is_suspended(pid: int) -> bool:
    """Return True if a process was stopped by SIGSTOP, or by a debugger."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False


def send_signal(processes: Iterable[psutil.Process], number: int) -> None:
    """Send a signal to each process; psutil checks that the pid was not reused."""
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def kill_tree(find: Callable[[], list[psutil.Process]]) -> None:
    """Kill the processes that ``find`` returns.

    They are stopped first, until it finds no new ones, so that none can fork, and all of them stay findable: the
    descendants of a process cannot be found after its death.
    """
    found: dict[int, psutil.Process] = {}
    for _ in range(MAX_STOP_ROUNDS):
        new = [process for process in find() if found.get(process.pid) != process]
        if not new:
            break
        send_signal(new, signal.SIGSTOP)
        found.update((process.pid, process) for process in new)
    send_signal(found.values(), signal.SIGKILL)


def holders(
    tokens: Collection[str], paths: Iterable[str | Path], session: Session | None = None, worker: int | None = None
) -> list[psutil.Process]:
    """Return the live processes that belong to one of the attempts ``tokens``, and all their descendants.

    A process belongs to an attempt if its environment contains the token, if it has one of the output files ``paths``
    open for writing, if it is in the attempt's ``session``, or if it is a descendant of the frozen ``worker``. The
    output files include a frozen worker that was about to start an attempt.
    """
    import psutil

    files = file_ids(paths)
    me = os.getpid()
    processes = {process.pid: process for process in _all_processes() if process.pid != me}
    children: dict[int, list[int]] = {}
    found = _session_members(processes, session) if session is not None else set()
    for pid, process in processes.items():
        with contextlib.suppress(psutil.Error, OSError):
            children.setdefault(process.ppid(), []).append(pid)
            if attempt_token(process) in tokens or holds_any(pid, files):
                found.add(pid)
    todo = list(found)
    if worker is not None:
        todo.append(worker)
    while todo:
        new = [pid for pid in children.get(todo.pop(), ()) if pid not in found]
        found.update(new)
        todo += new
    return [processes[pid] for pid in found if not is_zombie(processes[pid])]


def _session_members(pids: Iterable[int], session: Session) -> set[int]:
    """Return the processes in ``session`` (Linux only), or none if its pid was reused.

    The pid of a session is not reused while a process, dead or alive, is in it. So one member from the known time
    proves all others, also after the death of the leader.
    """
    members: dict[int, int] = {}
    tick_ns = _NS_PER_S // os.sysconf("SC_CLK_TCK")
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = read_stat(pid)
            if int(fields[3]) == session.leader:
                members[pid] = int(fields[19]) * tick_ns
    if any(session.began_ns - tick_ns <= start <= session.ended_ns for start in members.values()):
        return set(members)
    return set()


def kill_until_gone(find: Callable[[], list[psutil.Process]], timeout_s: float, reap: Callable[[], object]) -> bool:
    """Kill what ``find`` returns until it returns nothing; return False ``timeout_s`` seconds after the first kill.

    A process that was found once is waited for, even if it cannot be found again after the death of its parent.
    """
    deadline = float("inf")  # however long the first search takes on a loaded machine, what it finds is killed
    found: dict[int, psutil.Process] = {}

    def find_all() -> list[psutil.Process]:
        found.update((process.pid, process) for process in find())
        return [process for process in found.values() if not is_zombie(process)]

    while find_all():
        if time.monotonic() > deadline:
            return False
        kill_tree(find_all)
        deadline = min(deadline, time.monotonic() + timeout_s)
        reap()
        time.sleep(0.01)
    return True


def kill_descendants() -> None:
    """Kill all descendants of this process, which none of them outlives except in an uninterruptible system call."""
    kill_until_gone(lambda: descendants(os.getpid()), UNINTERRUPTIBLE_S, lambda: None)
