"""Texts for errors of the operating system."""

from __future__ import annotations

import errno
import os

import pytest

from queuectl_nb.store.os_errors import describe_os_error, open_files_error, os_reason

PROCESS_LIMIT = f"too many open files: the limit is {os.sysconf('SC_OPEN_MAX')}; raise it with 'ulimit -n'"
MACHINE_LIMIT = "too many open files on this machine; raise the limit with 'sysctl fs.file-max'"


@pytest.mark.parametrize(
    ("error", "reason", "whole"),
    [
        (OSError(errno.EMFILE, "x", "a.db"), PROCESS_LIMIT, f"a.db: {PROCESS_LIMIT}"),
        (OSError(errno.ENFILE, "x"), MACHINE_LIMIT, MACHINE_LIMIT),
        (OSError(errno.ENOSPC, "No space left", "a.db"), "No space left", "a.db: No space left"),
        (OSError(errno.ENOSPC, "No space left"), "No space left", "No space left"),
        (OSError("whatever"), "whatever", "whatever"),
    ],
)
def test_reasons(error: OSError, reason: str, whole: str) -> None:
    """A limit of open files comes with the way to raise it; the file is named if there is one."""
    assert (os_reason(error), describe_os_error(error)) == (reason, whole)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOENT])
def test_open_files(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The limit is reached if SQLite cannot open its four files; what was opened is closed."""
    opened: list[int] = []
    closed: list[int] = []
    room = 9

    def open_file(*_: object) -> int:
        if len(opened) == room:
            raise OSError(code, "x")
        opened.append(100 + len(opened))
        return opened[-1]

    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(os, "close", closed.append)
    assert open_files_error() is None
    assert opened == closed == [100, 101, 102, 103]
    opened.clear()
    closed.clear()
    room = 3
    found = open_files_error()
    assert (found and found.errno) == (None if code == errno.ENOENT else code)
    assert opened == closed == [100, 101, 102]
