"""The jobs of :mod:`tests.journeys.chaos` that call a function. It imports little, because each job imports it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from queuectl_nb import GiveUp

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GIVES_UP", "KINDS", "work"]

GIVES_UP = "gives_up"


def work(number: str, kind: str, seconds: float, argument: bytes, size: int) -> tuple[int, str, bytes, bytes]:
    """Do what ``job.sh`` does; return, or raise, what identifies the attempt, the argument, and ``size`` bytes."""
    os.chdir(f"{os.path.dirname(os.environ['QUEUECTL_DB'])}/marks")
    attempt, token = os.environ["QUEUECTL_ATTEMPT"], os.environ["QUEUECTL_ATTEMPT_TOKEN"]
    lock = os.open(f"{number}.lock", os.O_WRONLY | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _append("overlaps", f"{number} attempt {attempt}\n")
    KINDS[kind]()
    time.sleep(seconds)
    _append(f"{number}.done", f"{attempt}\n")
    if kind == GIVES_UP:
        raise GiveUp(int(attempt), token)
    return int(attempt), token, argument, (token.encode() * (size // len(token) + 1))[:size]


def _append(name: str, text: str) -> None:
    with open(name, "a") as file:
        file.write(text)


def _leave_daemon() -> None:
    subprocess.Popen(["sleep", "0.4"], start_new_session=True, close_fds=False)


def _leave_fork() -> None:
    """Leave a copy of this process that ignores SIGTERM."""
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(0.4)
        os._exit(0)


def _be_quiet() -> None:
    """Close the output: identifiable only by the session."""
    os.closerange(0, 3)
    time.sleep(0.3)


def _kill_parent() -> None:
    """Kill the fork server, or the worker if there is none; only once, so that the job gets done."""
    if os.environ["QUEUECTL_ATTEMPT"] == "1":
        os.kill(os.getppid(), signal.SIGKILL)


KINDS: dict[str, Callable[[], object]] = {
    "plain": lambda: None,
    "ignores_term": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "daemon": _leave_daemon,
    "fork": _leave_fork,
    "quiet": _be_quiet,
    "kills_parent": _kill_parent,
    GIVES_UP: lambda: None,
}
