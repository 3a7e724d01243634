"""The process's standard streams: closed ones get a place to go, and one that nobody reads any more goes quiet."""

from __future__ import annotations

import os
import sys

__all__ = ["mend_streams", "silence_stdout"]


def mend_streams() -> None:
    """Give closed standard streams a place to go, and let no encoding break an answer.

    A file that we open must never get the number of a closed stream: what is printed would go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def silence_stdout() -> None:
    """Send what is still buffered nowhere: the interpreter flushes once more at its end."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
