"""What a dispatcher keeps in files, on a disk that takes no more: nothing is forgotten, and it lives on."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.engine.dask.dispatch_journal import COMPACT_TOKENS, DispatchJournal, read_dispatched
from queuectl_nb.engine.dask.messages import Ended
from queuectl_nb.engine.dask.remote_run import RemoteRun
from queuectl_nb.model.attempt import Lease
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = [f"{n:032x}" for n in range(COMPACT_TOKENS + 10)]


class FullDisk:
    """Lets a write take so many bytes, and the next ones none."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def write(self, handle: int, raw: bytes) -> int:
        """Write as far as there is room."""
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = self._write(handle, raw[: self.room])
        self.room -= done
        return done


def test_a_token_that_was_written_in_part_has_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a token did not fit on the disk its job must not leave, and those noted later are whole."""
    sent = DispatchJournal(tmp_path, "worker-1")
    sent.add(TOKENS[0])
    monkeypatch.setattr(os, "write", FullDisk(10).write)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            sent.add(TOKENS[1])
    monkeypatch.undo()
    sent.add(TOKENS[2])
    assert read_dispatched(tmp_path, "worker-1") == {TOKENS[0], TOKENS[2]}


@pytest.mark.parametrize("room", [0, 50])
def test_a_list_that_cannot_be_tidied_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Where there is no room for a shorter list the long one stays, whole, and is tidied another time."""
    sent = DispatchJournal(tmp_path, "worker-1")
    for token in TOKENS:
        sent.add(token)
    monkeypatch.setattr(os, "write", FullDisk(room).write)
    sent.compact(TOKENS[:5])
    monkeypatch.undo()
    assert read_dispatched(tmp_path, "worker-1") == set(TOKENS)
    sent.compact(TOKENS[:5])
    assert read_dispatched(tmp_path, "worker-1") == set(TOKENS[:5])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worker-1.dispatched"]


def test_a_result_that_does_not_fit_is_told_and_ends_nobody(tmp_path: Path) -> None:
    """A job's end counts although its result cannot be written; the user reads why there is none."""
    lease = Lease(1, "job-1", 1, TOKENS[0], "true", "/", "default", 0, 1, None, None)
    run = RemoteRun(lease, Spool(tmp_path / "missing"))
    run.finish(Ended(lease.token, Exited(0), result="[1]"), None)
    assert run.outcome == Exited(0)
    assert (run.note or "").startswith("its result was not stored: ")
