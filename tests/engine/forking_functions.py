"""Functions that run as jobs and look at how their process was started; a module of its own, which imports little."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings


def is_forked() -> bool:
    """Return True in a job whose process was forked from a fork server."""
    with open(f"/proc/{os.getppid()}/cmdline") as file:
        return "queuectl_nb.child.fork_server" in file.read()


def lock_and_fork() -> int:
    """Fork while another thread holds the lock of a logging handler; return how the fork ended, which logs."""
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with handler.lock:  # type: ignore[union-attr]
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if not pid:
        signal.alarm(20)
        logging.getLogger().warning("in the fork")
        os._exit(7 if threading.active_count() == 1 else 8)
    status = os.waitpid(pid, 0)[1]
    done.set()
    thread.join()
    return os.waitstatus_to_exitcode(status)
