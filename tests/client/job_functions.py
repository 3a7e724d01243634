"""Functions that jobs import in ``test_functions.py``. It imports little, because each job imports it."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from typing import NoReturn


def add(x: float, y: float = 1) -> float:
    """Return a sum."""
    return x + y


def fail(text: str) -> NoReturn:
    """Raise."""
    raise ValueError(text)


def fail_beside(text: str, tag: str, jobs: int) -> NoReturn:
    """Raise, once there are this many jobs with the tag."""
    from queuectl_nb import Queue

    queue = Queue(os.environ["QUEUECTL_DB"])
    while len(queue.jobs(tag=tag)) < jobs:
        time.sleep(0.01)
    fail(text)


class TwoArguments(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class UnpickleExits:
    """Pickles, and ends the process that unpickles it."""

    code = 3

    def __reduce__(self) -> tuple[object, ...]:
        return sys.exit, (self.code,)


class UnpickleFails:
    """Pickles, and cannot be unpickled."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> NoReturn:
        raise RuntimeError("not here")

    def __getstate__(self) -> object:
        return 1


class WithLock(Exception):
    """Does not pickle."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


def die_after_returning(number: int, calls: str) -> int:
    """Record the call and return; in the first attempt, the process is killed when it has written its value."""
    with open(calls, "a") as file:
        file.write(f"{number}\n")
    if os.environ["QUEUECTL_ATTEMPT"] == "1":
        atexit.register(os.kill, os.getpid(), signal.SIGKILL)
    return number


def exit_hard() -> None:
    """Leave without a value."""
    os._exit(0)


def become_true() -> None:
    """Replace the process."""
    os.execvp("true", ["true"])  # noqa: S606


def segfault() -> None:
    """Crash."""
    ctypes.string_at(0)


def recurse() -> NoReturn:
    """Never end."""
    recurse()


def fail_without_descriptors() -> NoReturn:
    """Close standard input and output, and raise."""
    os.closerange(0, 3)
    raise ValueError("after closing")


def fail_without_stderr() -> NoReturn:
    """Remove standard error, and raise."""
    sys.stderr = None
    raise ValueError("no stderr")


def terminate_group() -> None:
    """Send SIGTERM to the whole job."""
    os.killpg(0, signal.SIGTERM)
    time.sleep(60)


def close_and_return_much() -> bytes:
    """Close standard input and output, and return what is stored in a file."""
    os.closerange(0, 3)
    return b"x" * 200_000


class ExitsWhenPickled(Exception):
    """Ends the process when it is pickled."""

    def __reduce__(self) -> NoReturn:
        sys.exit(3)


class UnpickledAsNumber(Exception):
    """Becomes a number when it is pickled and unpickled."""

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (5,)


def leave_thread() -> str:
    """Leave a thread that ends later."""

    def end() -> None:
        time.sleep(0.05)
        os.write(1, b"end of the thread\n")

    threading.Thread(target=end).start()
    return "returned"


def leave_pool() -> int:
    """Leave a pool whose idle thread ends with the interpreter, as pools that a library keeps for later calls."""
    from concurrent.futures import ThreadPoolExecutor

    leave_pool.kept = ThreadPoolExecutor(1)  # type: ignore[attr-defined]
    return leave_pool.kept.submit(add, 1, 2).result()  # type: ignore[attr-defined,no-any-return]


def leave_daemon() -> int:
    """Leave a thread that never ends, and a process in a session of its own."""
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid


def close_everything() -> str:
    """Close all descriptors."""
    os.closerange(0, 1000)
    return "closed"


def fork_and_return() -> str:
    """Return twice."""
    return "child" if os.fork() == 0 else "parent"


def close_streams() -> str:
    """Close standard output and error."""
    sys.stdout.close()
    sys.stderr.close()
    return "closed"


def remove_streams() -> str:
    """Set standard output and error to None, as in a program without a console."""
    sys.stdout = sys.stderr = None
    return "removed"


def change_directory() -> str:
    """Change the directory and the environment."""
    os.chdir("/")
    os.environ.clear()
    return os.getcwd()


def train_and_report(epochs: int) -> None:
    """Report a falling loss and leave a model."""
    from queuectl_nb import current_job, report

    for epoch in range(1, epochs + 1):
        report(progress=epoch / epochs, loss=1 / (epoch + 1), step=epoch)
    job = current_job()
    assert job is not None
    (job.artifacts / "model.txt").write_text("weights")
