"""A worker as a fork of its supervisor, with which it shares most of its memory, instead of a new interpreter.

A fork is only safe where the process has a single thread and no system library objects to it, so not on macOS.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from queuectl_nb.engine.control import CONTROL_PIPE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = ["ForkedProcess", "can_fork", "fill_heap_gaps"]

_STDERR = 2
_LARGEST_GAP, _SMALLEST_GAP = 64 * 1024, 16
_ARG_START, _ARG_END = 45, 46
"""Positions in /proc/PID/stat, counted from the state."""


def can_fork() -> bool:
    """Return True if this process can be forked now."""
    return sys.platform.startswith("linux") and threading.active_count() == 1


def fill_heap_gaps() -> None:
    """Occupy the gaps in the heap, for good, so that children put their data behind what they share with this process.

    A page that a child writes to is copied. With the GNU C library, each child would spread its data over all pages
    that have a gap: 0.5 MiB.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
    with contextlib.suppress(AttributeError):  # another C library
        libc.malloc_trim(0)  # also returns what is free at the end
        end = libc.sbrk(0)
        size = _LARGEST_GAP
        while size >= _SMALLEST_GAP:
            while (chunk := libc.malloc(size)) and chunk < end:
                pass
            libc.free(chunk)
            size -= max(_SMALLEST_GAP, size // 64)


class ForkedProcess:
    """A child process that calls a function, with those members of ``subprocess.Popen`` that a supervisor uses."""

    def __init__(self, run: Callable[[], int], keep: Collection[int], command: Sequence[str]) -> None:
        """Fork this process; the child exits with what ``run`` returns.

        It has the standard streams of this process, except for a pipe as stdin, and the descriptors ``keep``.
        ``command`` replaces its command line, as shown by ``ps``.
        """
        read, write = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(read)
            os.close(write)
            raise
        if not self.pid:
            _run_and_exit(run, read, keep, command)
        os.close(read)
        self.stdin = open(write, "wb", buffering=0)  # noqa: SIM115 - closed by the supervisor
        self.returncode: int | None = None

    def wait(self) -> None:
        """Wait for the process to exit."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self) -> None:
        """Kill the process, unless its exit was waited for."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


def _run_and_exit(run: Callable[[], int], stdin: int, keep: Collection[int], command: Sequence[str]) -> None:
    code = 1
    try:
        gc.freeze()  # the finalizers of what was inherited would close descriptors that are others here
        os.dup2(stdin, CONTROL_PIPE)
        _close_others(keep)
        with contextlib.suppress(OSError):
            _set_command_line(command)
        code = run()
    except BaseException:  # noqa: BLE001 - nothing may return into the supervisor's code
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _close_others(keep: Collection[int]) -> None:
    """Close all descriptors but the standard streams and ``keep``."""
    try:
        handles = [int(handle) for handle in os.listdir("/proc/self/fd")]
    except OSError:
        handles = list(range(os.sysconf("SC_OPEN_MAX")))
    for handle in handles:
        if handle > _STDERR and handle not in keep:
            with contextlib.suppress(OSError):
                os.close(handle)


def _set_command_line(words: Sequence[str]) -> None:
    """Overwrite the command line of this process, as far as there is room.

    As its last byte is not NUL, the kernel shows it up to the first one, with spaces between the words.
    """
    import ctypes

    with open("/proc/self/stat", "rb") as status:
        fields = status.read().rpartition(b")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    if end > start:
        line = os.fsencode(" ".join(words))[: end - start - 2].ljust(end - start - 1, b"\0") + b" "
        ctypes.memmove(start, line, end - start)
