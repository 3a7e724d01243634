"""Power loss: whatever part of the unsynced writes is on the disk, no acknowledged job is missing or partial.

A run of enqueues is recorded system call by system call. At chosen moments the disk is made as it could be found then:
all that was synced, and of what was written since none, some, or some with the last of it torn.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import queuectl_nb

IMAGES = 150

ENQUEUER = """
import os, sys, time
from pathlib import Path
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.insert import insert_jobs
from queuectl_nb.store.store import Store
store = Store(Path(sys.argv[1]))
store.db.connection().execute("PRAGMA wal_autocheckpoint = 25")
store.db.connection().execute(f"PRAGMA synchronous = {sys.argv[2]}")
for number in range(80):
    jobs = [JobSpec("x" * 700, id=f"job-{number}-{each}") for each in range(2)]
    insert_jobs(store.db, jobs, cwd="/", recorded_env={}, now=time.time())
    os.write(1, b"ack %d\\n" % number)
"""
CALL = re.compile(
    r'^\d+ +(pwrite64|write|fdatasync|fsync|ftruncate)\(\d+<([^>]*)>(?:, (?:"([^"]*)", )?(\d+)(?:, (\d+))?)?\)'
)


class Event(NamedTuple):
    """A call on a file (write, truncate or sync), or an acknowledgement."""

    kind: str
    name: str
    data: bytes = b""
    offset: int = 0


class Disk:
    """Two files: their content in memory, and the part that is certainly on the disk."""

    def __init__(self, first: bytes) -> None:
        """Start with the database's bytes and an empty log."""
        self.synced = {"q.db": first, "q.db-wal": b""}
        self.pending: dict[str, list[Event]] = {"q.db": [], "q.db-wal": []}

    def apply(self, event: Event) -> None:
        """Apply a call."""
        if event.kind == "sync":
            for each in self.pending[event.name]:
                self.synced[event.name] = _apply(self.synced[event.name], each)
            self.pending[event.name] = []
        else:
            self.pending[event.name].append(event)

    def image(self, chance: random.Random) -> dict[str, bytes]:
        """Return a possible content of the disk after power loss."""
        files = dict(self.synced)
        share = chance.choice([0.0, 0.3, 0.7, 1.0])
        for name, events in self.pending.items():
            reached = [event for event in events if chance.random() < share]
            if reached and reached[-1].kind == "write" and chance.random() < 0.5:
                last = reached.pop()
                reached.append(last._replace(data=last.data[: chance.randrange(0, len(last.data) + 1, 8)]))
            for event in reached:
                files[name] = _apply(files[name], event)
        return files


def _apply(content: bytes, event: Event) -> bytes:
    if event.kind == "truncate":
        return content[: event.offset].ljust(event.offset, b"\0")
    content = content.ljust(event.offset, b"\0")
    return content[: event.offset] + event.data + content[event.offset + len(event.data) :]


def _record(path: Path, synchronous: str) -> list[Event]:
    """Run the enqueues under strace and return the calls on the two files and the acknowledgements in order."""
    log = path.with_name("log")
    calls = "trace=pwrite64,write,fdatasync,fsync,ftruncate"
    env = {**os.environ, "PYTHONPATH": str(Path(queuectl_nb.__file__).parents[1])}
    done = subprocess.run(
        [
            *("strace", "-f", "-y", "-xx", "-s", "100000", "-e", calls, "-o", str(log)),
            *(sys.executable, "-c", ENQUEUER, str(path), synchronous),
        ],
        capture_output=True,
        env=env,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no tracing here: {done.stderr.decode()[-200:]}")
    events = []
    for line in log.read_text().splitlines():
        if not (match := CALL.match(line)):
            continue
        kind, name, data, first, second = match.groups()
        raw = bytes.fromhex((data or "").replace("\\x", ""))
        name = Path(bytes.fromhex(name.replace("\\x", "")).decode()).name
        if kind == "write" and raw.startswith(b"ack "):
            events.append(Event("ack", "", raw[4:].strip()))
        elif name in ("q.db", "q.db-wal"):
            if kind == "pwrite64":
                events.append(Event("write", name, raw, int(second)))
            else:
                events.append(Event("truncate" if kind == "ftruncate" else "sync", name, b"", int(first or 0)))
    return events


def _lost(files: dict[str, bytes], folder: Path, acknowledged: int) -> int:
    """Open an image and return the number of acknowledged jobs that are missing; no job may be partial."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    connection = sqlite3.connect(folder / "q.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        there = {job_id for (job_id,) in connection.execute("SELECT id FROM jobs")}
        assert connection.execute("SELECT coalesce(sum(n), 0) FROM tally").fetchone() == (len(there),)
    finally:
        connection.close()
        shutil.rmtree(folder)
    for number in range(80):
        pair = {f"job-{number}-0", f"job-{number}-1"}
        assert len(pair & there) != 1, "one of two that were enqueued together"
    return sum(f"job-{number}-0" not in there for number in range(acknowledged))


@pytest.mark.skipif(shutil.which("strace") is None, reason="recording the system calls needs strace")
@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_what_was_acknowledged_survives_power_loss(queue_path: Path, tmp_path: Path, synchronous: str) -> None:
    """With FULL, as we use it, no image lacks an acknowledged job; with NORMAL some do, so the test is sensitive."""
    path = queue_path.rename(tmp_path / "q.db")
    disk, acknowledged = Disk(path.read_bytes()), 0
    events = _record(path, synchronous)
    assert sum(event.kind == "ack" for event in events) == 80
    assert any(event.kind == "sync" and event.name == "q.db" for event in events), "no checkpoint among them"
    chance = random.Random(7)
    moments = set(chance.sample(range(len(events)), min(IMAGES, len(events))))
    lost = []
    for moment, event in enumerate(events):
        if event.kind == "ack":
            acknowledged = int(event.data) + 1
        else:
            disk.apply(event)
        if moment in moments:
            lost.append(_lost(disk.image(chance), tmp_path / "image", acknowledged))
    assert len(lost) == len(moments)
    if synchronous == "FULL":
        assert set(lost) == {0}
    else:
        assert any(lost)
