"""Groups failures by reason: attempts with the same key failed in the same way.

>>> first = group_of(Exited(1), Message(text="cannot read /data/7.csv at line 12"), "")
>>> first.reason, first == group_of(Exited(1), Message(text="cannot read /tmp/8.csv at line 3"), "")
('exit', True)
>>> group_of(TimedOut(30.0), Message(), "timed out after 30 seconds").reason
'timeout'
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from queuectl_nb.model.failure import Message
from queuectl_nb.model.outcome import (
    Cancelled,
    Copied,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    Raised,
    Returned,
    Signalled,
    SignalledWorker,
    TimedOut,
)

__all__ = ["REASONS", "ErrorGroup", "group_of"]

REASONS = ("exception", "exit", "signal", "timeout", "oom", "gpu_oom", "lost", "not_started")
"""Reasons of failures; ``oom`` is a Python program that could not allocate memory."""
KEY_BYTES = 4

_GPU_OOM = re.compile(
    r"(?:CUDA|HIP)(?: error:)? out of memory|(?:CUDA|HIP)_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation"
    r"|RESOURCE_EXHAUSTED: .*memory"
)
_OOM = re.compile(r"(?:numpy\.\S*)?(?:MemoryError|_ArrayMemoryError)\b")
_PYTHON_EXITS = re.compile(r"(exit code \d+)(?:: |\Z)|ended without a value\Z")
_FRAME = re.compile(r'File "(?P<file>[^"\n]+)", line \d+, in (?P<function>.+)')
_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/lib(?:64)?/python\d[^/]*/|^<frozen |/queuectl_nb/|\.pyx$")
_CELL = re.compile(r"Cell In\[\d+\]|(?:.*/)?ipykernel_\d+/\d+\.py|<ipython-input-.*>")
_VARIABLE = re.compile(r"(?<![A-Za-z_.~:+-])[A-Za-z_.~:+-]*+[\d/\\][\w.~:+%@?&=/\\-]*")
"""A word with a number, a path, an id or an address: what differs between failures of the same kind."""
MAX_MESSAGE_CHARS = 300


class ErrorGroup(NamedTuple):
    """Why an attempt failed, one of :data:`REASONS`, and the key that it shares with failures of the same kind."""

    reason: str
    key: str


def group_of(outcome: Outcome, message: Message, error: str) -> ErrorGroup | None:  # noqa: PLR0911 - a case each
    """Return the group of an attempt whose error is ``error``; None if it did not fail."""
    match outcome:
        case Cancelled() | Returned() | Exited(0):
            return None
        case TimedOut():
            return _group("timeout")
        case Lost():
            return _group("lost", outcome.why)
        case Copied():
            return _group("lost", outcome.error)
        case NotStarted():
            return _group("not_started", outcome.why)
        case SignalledWorker():
            return _group("signal", exact=outcome.error)
        case Signalled():
            return _group("signal", exact=outcome.signal)
        case Raised() if found := _PYTHON_EXITS.match(error):  # such as sys.exit("no file")
            return _group_of_exit(error[found.end() :], exact=found[1] or error)
    exception = error if isinstance(outcome, Raised) else message.exception
    if not exception:
        return _group_of_exit(message.text, exact=f"exit code {outcome.code}")
    return _group(_reason(exception), exception, exact=_own_frame(message.tail))


def _group_of_exit(message: str, *, exact: str) -> ErrorGroup:
    return _group("gpu_oom" if _GPU_OOM.search(message) else "exit", message, exact=exact)


def _reason(exception: str) -> str:
    if "emory" in exception or "MEMORY" in exception:  # a tenth of the time of the patterns
        if _GPU_OOM.search(exception):
            return "gpu_oom"
        if _OOM.match(exception):
            return "oom"
    return "exception"


def _group(reason: str, message: str = "", *, exact: str = "") -> ErrorGroup:
    """Return the group of a reason, a message without its variable parts, and ``exact`` text."""
    return _make_group(reason, exact, _VARIABLE.sub("#", message[:MAX_MESSAGE_CHARS]))


@lru_cache(maxsize=64)
def _make_group(reason: str, exact: str, message: str) -> ErrorGroup:
    from hashlib import blake2b  # not loaded by a worker whose jobs succeed

    text = f"{reason}\n{exact}\n{message}"
    return ErrorGroup(reason, blake2b(text.encode("utf-8", "replace"), digest_size=KEY_BYTES).hexdigest())


def _own_frame(text: str) -> str:
    """Return file and function of the innermost frame in a traceback that is not in a library; empty without one.

    Line numbers are left out, since every edit changes them, and directories, since every checkout has its own. So are
    the numbers of cells, since every run changes them.
    """
    end = len(text)
    while (start := text.rfind('File "', 0, end)) >= 0:
        stop = text.find("\n", start, end)
        if frame := _read_frame(text[start : end if stop < 0 else stop]):
            return frame
        end = start
    return ""


@lru_cache(maxsize=256)
def _read_frame(line: str) -> str:
    """Return file and function of a frame; empty if it is in a library."""
    frame = _FRAME.match(line)
    if frame is None or _LIBRARY.search(frame["file"]):
        return ""
    name = "Cell" if _CELL.fullmatch(frame["file"]) else frame["file"].rpartition("/")[2]
    return f"{name}:{frame['function']}"
