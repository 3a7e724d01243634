"""One attempt that runs on a dask worker, as its dispatcher sees it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING

from queuectl_nb.child.blob import write_blob
from queuectl_nb.engine.dask.archive import ARCHIVE, unpack
from queuectl_nb.engine.dask.messages import Ended, OutputRead, Unstarted
from queuectl_nb.model.attempt import KeptArtifacts
from queuectl_nb.model.outcome import Outcome, Returned
from queuectl_nb.store.artifact_folder import keep_artifacts
from queuectl_nb.store.artifacts import artifact_dir
from queuectl_nb.store.blobs import blob_dir
from queuectl_nb.store.regular_file import open_regular
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.engine.dask.agent_state import AgentState
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.store.spool import Spool

__all__ = ["RemoteRun"]

REMOTE_STREAMS = (*STREAMS, "metrics", ARCHIVE)
"""What is received in pieces; the archive, with the artifacts, is complete when the attempt has ended."""
READ_BYTES = 1024 * 1024
"""Maximum output of a stream that is requested at once."""


class RemoteRun:
    """An attempt in flight. The output received so far is in spool files named by its token."""

    def __init__(self, lease: Lease, spool: Spool, agent: AgentState | None = None) -> None:
        self.lease = lease
        self.token = lease.token
        self.agent = agent
        self.request_number = 0
        """The request that the job was sent with; 0 until then."""
        self.end: Ended | Unstarted | None = None
        self.pid: int | None = None
        self.host: str | None = None
        self.started_at: float | None = None
        """Epoch seconds on this host's clock; None until the attempt is reported as running."""
        self.forced_outcome: Outcome | None = None
        """Why the dispatcher terminated it."""
        self.note: str | None = None
        self.lost_reply = ""
        """What is recorded instead of a reply that could not be stored."""
        self.paths = {stream: f"{spool.folder}/{lease.token}.{stream}" for stream in REMOTE_STREAMS}
        self.received = dict.fromkeys(REMOTE_STREAMS, 0)
        """Bytes of each stream received, without a gap from its beginning."""
        self.sizes = dict.fromkeys(REMOTE_STREAMS, 0)
        """Bytes of each stream that are known to exist."""
        self._spool = spool

    @property
    def outcome(self) -> Outcome:
        """How the attempt ended; :attr:`forced_outcome` if it ended because the dispatcher terminated it."""
        if not isinstance(self.end, Ended):
            raise TypeError(f"the attempt of job {self.lease.job_id} has not ended")
        outcome = self.end.outcome
        return (self.forced_outcome or outcome) if isinstance(outcome, Returned) else outcome

    @property
    def complete(self) -> bool:
        """Whether all known output has been received."""
        return self.received == self.sizes

    def missing_output(self) -> list[OutputRead]:
        """Return requests for the output that is known to exist and was not received."""
        return [
            OutputRead(self.token, stream, received, READ_BYTES)
            for stream, received in self.received.items()
            if received < self.sizes[stream]
        ]

    def mark_running(self, pid: int | None, age_s: float, host: str | None) -> None:
        """Record that the attempt has been running for ``age_s`` seconds."""
        self.pid, self.host = pid, host
        if self.started_at is None:
            self.started_at = time.time() - age_s

    def add_output(self, sizes: Mapping[str, int], output: Mapping[str, tuple[int, bytes]]) -> None:
        """Store reported output, unless data before its offset is missing, and note what else exists.

        A command that truncates its output does not shrink it here.
        """
        for stream, size in sizes.items():
            self.sizes[stream] = max(size, self.sizes[stream])
        for stream, (offset, data) in output.items():
            if offset <= self.received[stream]:
                self._store(stream, offset, data)

    def add_chunk(self, stream: str, offset: int, data: bytes | None) -> None:
        """Store requested output. It may begin later than requested; without data the stream is complete."""
        if data:
            self._store(stream, offset, data)
            self.sizes[stream] = max(self.sizes[stream], self.received[stream])
        else:
            self.sizes[stream] = self.received[stream]

    def _store(self, stream: str, offset: int, data: bytes) -> None:
        """Write output to its file. If the disk is full, output is lost, but the attempt goes on."""
        try:
            _write(self.paths[stream], offset, data)
        except OSError as error:
            self.note = f"its output is incomplete: {error.strerror}"
        self.received[stream] = max(self.received[stream], offset + len(data))

    def finish(self, end: Ended | Unstarted, host: str | None) -> None:
        """Record how the attempt ended, with the output and result that the message carries."""
        self.end, self.host = end, host
        if isinstance(end, Unstarted):
            return
        self.pid = end.pid or self.pid
        self.note = end.note or self.note
        self.add_output(end.sizes, end.output)
        for name, text in (("result", end.result), ("reply", end.reply)):
            if text is not None:
                self._store_text(name, text, end.blobs)

    def _store_text(self, name: str, text: str, blobs: Mapping[str, bytes]) -> None:
        """Store the result, or the reply with the blobs that it refers to, where those of a local job would be."""
        path = self._spool.path(self.token, name)
        try:
            for sha256, body in blobs.items():
                write_blob(blob_dir(self._spool.folder), sha256, body)
            _write(f"{path}", 0, text.encode())
        except OSError as error:
            self.note = f"its {'value' if name == 'reply' else 'result'} was not stored: {error.strerror}"
            if name == "reply":
                self.lost_reply = json.dumps({"error": f"the value cannot be written: {error.strerror}"})
            with contextlib.suppress(OSError):
                path.unlink()

    @property
    def limited_paths(self) -> list[str]:
        """The files that the setting ``spool_limit`` applies to."""
        return [path for stream, path in self.paths.items() if stream != ARCHIVE]

    def unpack_artifacts(self, limit: int) -> KeptArtifacts | None:
        """Put the artifacts where those of a local job would be; return what was kept."""
        kept, note = None, self.end.artifact_note if isinstance(self.end, Ended) else None
        if self.received[ARCHIVE]:
            self.note = unpack(f"{self._spool.folder}", self.token) or self.note
            kept = keep_artifacts(artifact_dir(self._spool.folder, self.token), limit)
        return (kept or KeptArtifacts(0, 0, None))._replace(note=note) if note else kept

    def lose(self, outcome: Outcome) -> None:
        """End the attempt without a report from its agent. The output received so far is kept."""
        self.end = Ended(self.token, outcome)
        self.sizes = dict(self.received)


def _write(path: str, offset: int, data: bytes) -> None:
    with open_regular(path, os.O_WRONLY | os.O_CREAT) as handle:
        done = 0
        while done < len(data):
            done += os.pwrite(handle, data[done:], offset + done)
