"""Files of a dispatcher on a full disk: nothing is lost, and it continues."""

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
    """Accepts a number of bytes, then fails with ENOSPC."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def write(self, handle: int, raw: bytes) -> int:
        """Write as many bytes as there is room for."""
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = self._write(handle, raw[: self.room])
        self.room -= done
        return done


def test_partially_written_token_is_not_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that did not fit is not in the journal; tokens written later are complete."""
    journal = DispatchJournal(tmp_path, "worker-1")
    journal.add(TOKENS[0])
    monkeypatch.setattr(os, "write", FullDisk(10).write)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            journal.add(TOKENS[1])
    monkeypatch.undo()
    journal.add(TOKENS[2])
    assert read_dispatched(tmp_path, "worker-1") == {TOKENS[0], TOKENS[2]}


@pytest.mark.parametrize("room", [0, 50])
def test_failed_compaction_keeps_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """If there is no room for a compacted journal, the long one stays and is compacted later."""
    journal = DispatchJournal(tmp_path, "worker-1")
    for token in TOKENS:
        journal.add(token)
    monkeypatch.setattr(os, "write", FullDisk(room).write)
    journal.compact(TOKENS[:5])
    monkeypatch.undo()
    assert read_dispatched(tmp_path, "worker-1") == set(TOKENS)
    journal.compact(TOKENS[:5])
    assert read_dispatched(tmp_path, "worker-1") == set(TOKENS[:5])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worker-1.dispatched"]


def test_result_that_cannot_be_written_is_noted(tmp_path: Path) -> None:
    """The outcome counts even if the result cannot be written, and the note gives the reason."""
    lease = Lease(1, "job-1", 1, TOKENS[0], "true", "/", "default", 0, 1, None, None)
    run = RemoteRun(lease, Spool(tmp_path / "missing"))
    run.finish(Ended(lease.token, Exited(0), result="[1]"), None)
    assert run.outcome == Exited(0)
    assert (run.note or "").startswith("its result was not stored: ")
