"""Process trees: becoming the one that orphans fall to, finding what is left of a job, and ending all of it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    import psutil

__all__ = ["become_subreaper", "descendants", "end_all", "holders", "holds_all", "kill_tree", "send"]

_PR_SET_CHILD_SUBREAPER = 36
TOKEN_VARIABLE = "QUEUECTL_ATTEMPT_TOKEN"  # noqa: S105 - a name, not a secret


def become_subreaper() -> bool:
    """Make orphaned descendants children of this process, so that none can hide; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def descendants(pid: int, spare: Collection[int] = (), *, scan: bool = False) -> list[psutil.Process]:
    """Return the living descendants of ``pid``, leaving out the subtrees that begin at one of ``spare``.

    The kernel's lists of children are read, which may miss one while others come and go; ``scan`` looks at all
    processes instead, which takes ten times as long: for who must know that nothing is left.
    """
    children_of = _children if _LISTS_CHILDREN and not scan else _family()
    found: list[psutil.Process] = []
    todo = [pid]
    while todo:
        for child in children_of(todo.pop()):
            if child.pid not in spare:
                todo.append(child.pid)
                if not _is_zombie(child):
                    found.append(child)
    return found


_LISTS_CHILDREN = os.path.exists("/proc/thread-self/children")


def _children(pid: int) -> list[psutil.Process]:
    """Return the children of ``pid`` as the kernel lists them: what forks in a loop is gone before a scan has ended."""
    import psutil

    pids: list[str] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as listed:
                pids += listed.read().split()
    found = []
    for each in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(each))
            if process.ppid() == pid:  # the number was not given to another meanwhile
                found.append(process)
    return found


def _family() -> Callable[[int], list[psutil.Process]]:
    """Return who is whose child by one scan of all processes, where the kernel lists no children."""
    import psutil

    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            children.setdefault(process.ppid(), []).append(process)
    return lambda pid: children.get(pid, [])


def _is_zombie(process: psutil.Process) -> bool:
    """Tell whether the process is dead and only waits to be reaped; one that vanished counts too."""
    import psutil

    try:
        return bool(process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def send(processes: Iterable[psutil.Process], number: int) -> None:
    """Send a signal to each process; psutil makes sure that the pid was not given to another since."""
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def kill_tree(find: Callable[[], list[psutil.Process]]) -> None:
    """Kill all that ``find`` returns: first stop them until it finds no new one, so that none forks away."""
    stopped: set[int] = set()
    for _ in range(20):
        fresh = [process for process in find() if process.pid not in stopped]
        if not fresh:
            break
        send(fresh, signal.SIGSTOP)
        stopped.update(process.pid for process in fresh)
    send(find(), signal.SIGKILL)


def holders(tokens: Collection[str], paths: Iterable[str | Path]) -> list[psutil.Process]:
    """Return the living processes that belong to one of the attempts ``tokens``, found from outside.

    A process belongs to an attempt when its environment carries the token, or when it holds one of the attempts'
    files ``paths`` for writing (a frozen worker in the middle of starting one does, too).
    """
    import psutil

    files = _identities(paths)
    me = os.getpid()
    found = []
    for process in psutil.process_iter():
        if process.pid == me:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if (process.environ().get(TOKEN_VARIABLE) in tokens or _holds(process.pid, files)) and not _is_zombie(
                process
            ):
                found.append(process)
    return found


def holds_all(pid: int, paths: Iterable[str | Path]) -> bool:
    """Tell whether the process can write to each of the files; never where that cannot be seen (macOS)."""
    return all(_holds(pid, _identities([path])) for path in paths)


def _identities(paths: Iterable[str | Path]) -> set[tuple[int, int]]:
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            found.add((status.st_dev, status.st_ino))
    return found


def _holds(pid: int, files: Collection[tuple[int, int]]) -> bool:
    """Tell whether the process can write to one of the files (Linux; elsewhere the lock on the file still tells).

    Who only reads one looks at a job's output and is no part of it.
    """
    try:
        handles = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for handle in handles:
        with contextlib.suppress(OSError):
            status = os.stat(f"/proc/{pid}/fd/{handle}")
            if (status.st_dev, status.st_ino) in files and _writes(pid, handle):
                return True
    return False


def _writes(pid: int, handle: str) -> bool:
    """Tell whether a process's descriptor is open for writing."""
    with open(f"/proc/{pid}/fdinfo/{handle}") as facts:
        flags = next((line.split()[1] for line in facts if line.startswith("flags:")), "1")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def end_all(find: Callable[[], list[psutil.Process]], patience: float, reap: Callable[[], object]) -> bool:
    """Kill what ``find`` returns until it finds nothing; False when something outlives ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while find():
        if time.monotonic() > deadline:
            return False
        kill_tree(find)
        reap()
        time.sleep(0.01)
    return True
