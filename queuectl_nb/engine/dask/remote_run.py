"""One attempt that runs elsewhere, as its dispatcher sees it: what came back of its output, and how it ended."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.executor import Exit
from queuectl_nb.engine.outcome_journal import make_outcome
from queuectl_nb.model.attempt import Usage
from queuectl_nb.model.outcome import Outcome, Returned
from queuectl_nb.store.regular_file import open_regular
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.channel import Message
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.store.spool import Spool

__all__ = ["RemoteRun"]


class RemoteRun:
    """An attempt in flight; its output lies in files named by its token as far as it has come."""

    def __init__(self, lease: Lease, spool: Spool) -> None:
        """Wait for the attempt of ``lease``."""
        self.lease = lease
        self.token = lease.token
        self.exit: Exit | None = None
        """How it ended; ``None`` while it runs."""
        self.unstarted = False
        """Whether it came back without having begun, and never will begin."""
        self.why = ""
        self.pid: int | None = None
        self.host: str | None = None
        self.started_at: float | None = None
        """Epoch seconds on this host's clock, once it is known to run."""
        self.recorded = False
        """Whether pid, host and start are in the database."""
        self.verdict: Outcome | None = None
        """Why we want it ended."""
        self.ran: float | None = None
        self.note: str | None = None
        self.paths = {stream: f"{spool.folder}/{lease.token}.{stream}" for stream in STREAMS}
        self.have = dict.fromkeys(STREAMS, 0)
        """Bytes of each stream that are here, without a gap from its beginning."""
        self.size = dict.fromkeys(STREAMS, 0)
        """Bytes of each stream that there are, as far as known."""
        self._result = f"{spool.folder}/{lease.token}.result"

    @property
    def outcome(self) -> Outcome:
        """What it came to: our verdict goes before how it took it, where it was we who ended it."""
        if self.exit is None:
            msg = f"the attempt of job {self.lease.job_id} has not ended"
            raise RuntimeError(msg)
        by_us = isinstance(self.exit.outcome, Returned) and self.verdict is not None
        return self.verdict if by_us and self.verdict is not None else self.exit.outcome

    @property
    def whole(self) -> bool:
        """Whether all of its output is here."""
        return self.have == self.size

    def lasts(self, pid: int, age: float, host: str) -> None:
        """Take in that it has been running for ``age`` seconds."""
        self.pid, self.host = pid, host
        if self.started_at is None:
            self.started_at = time.time() - age

    def take(self, stream: str, offset: int, data: bytes | None, size: int | None = None) -> None:
        """Take in a piece of output that begins at ``offset``; one that leaves a gap is not taken.

        Where ``data`` is None there is nothing more to be had.
        """
        if size is not None:
            self.size[stream] = max(size, self.size[stream])
        if data and offset <= self.have[stream]:
            self._keep(stream, offset, data)

    def piece(self, stream: str, offset: int, data: bytes | None) -> None:
        """Take in what was asked for; it begins later where the middle of the stream was given back."""
        if not data:
            self.size[stream] = self.have[stream]
            return
        self._keep(stream, offset, data)
        self.size[stream] = max(self.size[stream], self.have[stream])

    def _keep(self, stream: str, offset: int, data: bytes) -> None:
        """Write a piece; where the disk takes no more, the job is no worse for it."""
        try:
            self._write(self.paths[stream], offset, data)
        except OSError as error:
            self.note = f"its output was not kept whole: {error.strerror}"
        self.have[stream] = max(self.have[stream], offset + len(data))

    @staticmethod
    def _write(path: str, offset: int, data: bytes) -> None:
        handle = open_regular(path, os.O_WRONLY | os.O_CREAT)
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(handle, data[done:], offset + done)
        finally:
            os.close(handle)

    def end(self, message: Message) -> None:
        """Take in how it ended, with the output that came along."""
        if message["outcome"] is None:
            self.unstarted, self.why = True, message.get("why") or ""
            return
        usage: Any = message.get("usage") or ()
        self.exit = Exit(make_outcome(*message["outcome"]), Usage(*usage))
        self.pid = message.get("pid") or self.pid
        self.ran = message.get("ran")
        self.note = message.get("note") or self.note
        for stream, size in message.get("sizes", {}).items():
            self.size[stream] = size
        for stream, (offset, data) in message.get("rest", {}).items():
            self.take(stream, offset, data)
        if message.get("result") is not None:
            try:
                self._write(self._result, 0, message["result"].encode())
            except OSError as error:
                self.note = f"its result was not stored: {error.strerror}"
                with contextlib.suppress(OSError):
                    os.unlink(self._result)

    def lose(self, outcome: Outcome) -> None:
        """End it without having heard how it ended; what came of its output stays."""
        self.exit = Exit(outcome, Usage())
        self.size = dict(self.have)
