"""The files into which jobs write: who holds them, and when they go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.store import output
from queuectl_nb.store.output import EMPTY_STREAM, StoredStream, read_truncated
from queuectl_nb.store.spool import STREAMS, Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """Return an empty spool."""
    return Spool(tmp_path)


@pytest.fixture
def job(spool: Spool) -> Iterator[subprocess.Popen[bytes]]:
    """Run a job's process in the slot of worker-1; it lives until its stdin ends."""
    out, err = spool.slot("worker-1").open()
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=out, stderr=err)
    os.close(out)
    os.close(err)
    yield process
    process.kill()
    process.communicate()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.communicate()


# ---------------------------------------------------------------------- slots and seals


def test_a_slot_is_a_pair_of_empty_private_files(spool: Spool) -> None:
    """A slot's two files are empty, locked, appended to, not inherited by accident, and for nobody else's eyes."""
    out, err = spool.slot("worker-1").open()
    assert [entry.name for entry in sorted(spool.folder.iterdir())] == ["worker-1.stderr", "worker-1.stdout"]
    for handle in (out, err):
        assert os.fstat(handle).st_size == 0
        assert os.fstat(handle).st_mode & 0o777 == 0o600
        assert not os.get_inheritable(handle)
        assert os.get_blocking(handle)
        os.write(handle, b"a")
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, b"b")
        os.close(handle)
    assert spool.path("worker-1", "stdout").read_bytes() == b"ab"


def test_a_slot_is_not_used_while_a_process_of_its_job_lives(spool: Spool, job: subprocess.Popen[bytes]) -> None:
    """As long as any process has the files that a job inherited, the next attempt cannot begin in them."""
    with pytest.raises(BlockingIOError):
        spool.slot("worker-1").open()
    _end(job)
    for handle in spool.slot("worker-1").open():
        os.close(handle)


@pytest.mark.parametrize("held", STREAMS)
def test_one_open_file_is_enough_to_hold_a_slot(spool: Spool, held: str) -> None:
    """A process that closed one of its streams still holds the attempt by the other."""
    out, err = spool.slot("worker-1").open()
    os.close(err if held == "stdout" else out)
    with pytest.raises(BlockingIOError):
        spool.slot("worker-1").open()
    assert spool.lock_attempt(TOKEN, "worker-1", current=True) is None
    os.close(out if held == "stdout" else err)


def test_an_attempt_is_sealed_only_when_its_processes_are_gone(spool: Spool, job: subprocess.Popen[bytes]) -> None:
    """No seal while a process of the attempt lives, whatever its parent or session; afterwards it is to be had."""
    assert spool.lock_attempt(TOKEN, "worker-1", current=True) is None
    _end(job)
    seal = spool.lock_attempt(TOKEN, "worker-1", current=True)
    assert seal is not None
    with seal:
        assert seal.started


def test_nothing_starts_in_a_sealed_slot(spool: Spool) -> None:
    """While a rescuer settles in a worker's place, the worker cannot begin an attempt; afterwards the slot is free."""
    seal = spool.lock_attempt(TOKEN, "worker-1", current=False)
    assert seal is not None
    with seal:
        assert not seal.started
        with pytest.raises(BlockingIOError):
            spool.slot("worker-1").open()
        assert spool.lock_attempt(TOKEN, "worker-1", current=False) is None, "two rescuers never settle together"
    for handle in spool.slot("worker-1").open():
        os.close(handle)


STOPPED = """
import os, sys
from pathlib import Path
from queuectl_nb.store import spool
def pause(path, *flags, whole=os.open):
    handle = whole(path, *flags)
    if str(path).endswith("stdout"):
        print("opened", flush=True)
        sys.stdin.readline()
    return handle
spool.os.open = pause
try:
    spool.Spool(Path(sys.argv[1])).slot("worker-1").open()
except BlockingIOError:
    print("lost")
"""


def test_a_worker_stopped_in_the_middle_of_a_start_finds_the_seal(spool: Spool) -> None:
    """A worker that was frozen between opening its slot and locking it cannot start once a rescuer holds the seal."""
    root = str(Path(output.__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(spool.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "opened\n"
    seal = spool.lock_attempt(TOKEN, "worker-1", current=False)
    assert seal is not None
    with seal:
        assert process.communicate("\n", timeout=30)[0] == "lost\n"


def test_a_long_attempt_has_files_of_its_own(spool: Spool, job: subprocess.Popen[bytes]) -> None:
    """Renamed, the running attempt keeps its files and its lock, and the slot is free for the next one."""
    assert job.stdin is not None
    spool.slot("worker-1").rename(TOKEN)
    job.stdin.write(b"hello")
    job.stdin.flush()
    for handle in spool.slot("worker-1").open():
        os.close(handle)
    assert spool.lock_attempt(TOKEN, "worker-1", current=False) is None
    _end(job)
    seal = spool.lock_attempt(TOKEN, "worker-1", current=False)
    assert seal is not None
    with seal:
        assert seal.started, "files of its own say that it was started"
        assert read_truncated(seal.paths["stdout"], 100) == StoredStream("hello", None, 5, spooled=False)
    assert spool.tokens() == {TOKEN}
    spool.remove(TOKEN)
    assert spool.tokens() == set()


def test_a_kill_in_the_middle_of_a_rename_loses_no_stream(spool: Spool) -> None:
    """Where only one of the two files was renamed, the seal finds each stream where it lies."""
    for handle in spool.slot("worker-1").open():
        os.write(handle, b"x")
        os.close(handle)
    spool.path("worker-1", "stdout").rename(spool.path(TOKEN, "stdout"))
    seal = spool.lock_attempt(TOKEN, "worker-1", current=True)
    assert seal is not None
    with seal:
        assert [read_truncated(seal.paths[each], 9).head for each in STREAMS] == ["x", "x"]
        seal.clear()


def test_a_slot_is_emptied_behind_an_attempt(spool: Spool) -> None:
    """What the last attempt wrote is not the next one's."""
    slot = spool.slot("worker-1")
    for handle in slot.open():
        os.write(handle, b"old")
        os.close(handle)
    slot.clear()
    assert [read_truncated(path, 9) for path in slot.paths.values()] == [EMPTY_STREAM] * 2
    spool.slot("worker-9").clear()


# ---------------------------------------------------------------------- housekeeping


def test_files_are_removed_by_token_and_spared_by_stream(spool: Spool) -> None:
    """An attempt's files go together, those aside that stay as the rest of its output; others' are not touched."""
    for token in (TOKEN, TOKEN[::-1]):
        for each in (*STREAMS, "result"):
            spool.path(token, each).write_text("x" * 5000)
    spool.slot("worker-1").open()
    assert spool.tokens() == {TOKEN, TOKEN[::-1]}
    spool.remove(TOKEN, keep=frozenset({"stderr"}))
    assert sorted(each.name for each in spool.folder.glob(f"{TOKEN}*")) == [f"{TOKEN}.stderr"]
    assert spool.size(TOKEN, "stderr") == 5000
    assert spool.disk_usage() >= 4 * 5000
    spool.remove(TOKEN)
    spool.remove(TOKEN)
    assert spool.tokens() == {TOKEN[::-1]}
