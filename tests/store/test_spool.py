"""Spool files: who holds them, and when they are deleted."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.local_run import LocalRun
from queuectl_nb.store import output
from queuectl_nb.store.output import EMPTY_STREAM, StoredStream, read_truncated
from queuectl_nb.store.spool import STREAMS, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def job(spool: Spool) -> Iterator[subprocess.Popen[bytes]]:
    """Run the process of a job in the files of worker-1; it lives until its stdin is closed."""
    out, err = spool.worker_files("worker-1").open()
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=out, stderr=err)
    os.close(out)
    os.close(err)
    yield process
    process.kill()
    process.communicate()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.communicate()


# ---------------------------------------------------------------------- files of a worker and locks of an attempt


def test_worker_files(spool: Spool) -> None:
    """A worker has two empty files: locked, in append mode, not inherited by accident, with mode 0600."""
    out, err = spool.worker_files("worker-1").open()
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


def test_files_in_use(spool: Spool, job: subprocess.Popen[bytes]) -> None:
    """While a process holds the files of a job, no attempt can start in them."""
    with pytest.raises(BlockingIOError):
        spool.worker_files("worker-1").open()
    _end(job)
    for handle in spool.worker_files("worker-1").open():
        os.close(handle)


@pytest.mark.parametrize("held", STREAMS)
def test_one_stream_holds_both_files(spool: Spool, held: str) -> None:
    """A process that closed one of its streams still holds the attempt by the other."""
    out, err = spool.worker_files("worker-1").open()
    os.close(err if held == "stdout" else out)
    with pytest.raises(BlockingIOError):
        spool.worker_files("worker-1").open()
    assert spool.lock_attempt(TOKEN, "worker-1", current=True) is None
    os.close(out if held == "stdout" else err)


def test_lock(spool: Spool, job: subprocess.Popen[bytes]) -> None:
    """There is no lock while a process of the attempt lives, whatever its parent or session."""
    assert spool.lock_attempt(TOKEN, "worker-1", current=True) is None
    _end(job)
    lock = spool.lock_attempt(TOKEN, "worker-1", current=True)
    assert lock is not None
    with lock.locks:
        assert lock.started


def test_files_locked_by_a_rescuer(spool: Spool) -> None:
    """While a rescuer settles for a worker, no attempt starts in its files; afterwards they are free."""
    lock = spool.lock_attempt(TOKEN, "worker-1", current=False)
    assert lock is not None
    with lock.locks:
        assert not lock.started
        with pytest.raises(BlockingIOError):
            spool.worker_files("worker-1").open()
        assert spool.lock_attempt(TOKEN, "worker-1", current=False) is None, "two rescuers never settle together"
    for handle in spool.worker_files("worker-1").open():
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
    spool.Spool(Path(sys.argv[1])).worker_files("worker-1").open()
except BlockingIOError:
    print("lost")
"""


def test_lock_during_a_start(spool: Spool) -> None:
    """A worker frozen between opening and locking its files cannot start once a rescuer holds the lock."""
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
    lock = spool.lock_attempt(TOKEN, "worker-1", current=False)
    assert lock is not None
    with lock.locks:
        assert process.communicate("\n", timeout=30)[0] == "lost\n"


def test_rename_of_a_long_attempt(spool: Spool, job: subprocess.Popen[bytes]) -> None:
    """Renamed, a running attempt keeps its files and its lock, and the next one gets new files."""
    assert job.stdin is not None
    spool.worker_files("worker-1").rename(TOKEN)
    job.stdin.write(b"hello")
    job.stdin.flush()
    for handle in spool.worker_files("worker-1").open():
        os.close(handle)
    assert spool.lock_attempt(TOKEN, "worker-1", current=False) is None
    _end(job)
    lock = spool.lock_attempt(TOKEN, "worker-1", current=False)
    assert lock is not None
    with lock.locks:
        assert lock.started, "files of its own say that it was started"
        assert read_truncated(lock.paths["stdout"], 100) == StoredStream("hello", None, 5, spooled=False)
    assert spool.tokens() == {TOKEN}
    spool.remove(TOKEN)
    assert spool.tokens() == set()


def test_rename_on_a_full_disk(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one of the files cannot be renamed, both keep their names, and a later attempt to rename them works."""
    files, rename = spool.worker_files("worker-1"), os.rename
    for handle in files.open():
        os.close(handle)

    def fail(source: str, target: str) -> None:
        if target.endswith(f"{TOKEN}.stderr"):
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    run = LocalRun(cast("Any", SimpleNamespace(token=TOKEN)), files, 1, 0.0, 0.0, None, owns_children=False)
    assert not run.move_to_own_files()
    assert (run.paths, all(map(os.path.exists, run.paths.values()))) == (files.paths, True)
    assert spool.tokens() == set()
    monkeypatch.undo()
    assert run.move_to_own_files()
    assert all(map(os.path.exists, run.paths.values()))
    assert spool.tokens() == {TOKEN}


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_clock_that_is_set(spool: Spool, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """If the clock is set during a job, its start is corrected by the same time; the run time is the real one."""
    files, boot_clock = spool.worker_files("worker-1"), heartbeat.boot_clock
    run = LocalRun(cast("Any", SimpleNamespace(token=TOKEN)), files, 1, 1000.0, 0.0, None, owns_children=False)
    assert run.start_time() == 1000.0
    monkeypatch.setattr(heartbeat, "boot_clock", lambda: boot_clock() - jump)
    assert abs(run.start_time() - 1000.0 - jump) < 60


def test_kill_during_a_rename(spool: Spool) -> None:
    """If only one of the two files was renamed, the lock finds each stream under its name."""
    for handle in spool.worker_files("worker-1").open():
        os.write(handle, b"x")
        os.close(handle)
    spool.path("worker-1", "stdout").rename(spool.path(TOKEN, "stdout"))
    lock = spool.lock_attempt(TOKEN, "worker-1", current=True)
    assert lock is not None
    with lock.locks:
        assert [read_truncated(lock.paths[each], 9).head for each in STREAMS] == ["x", "x"]
        lock.files.clear()


def test_files_are_emptied(spool: Spool) -> None:
    """Output of the last attempt is not part of the next one."""
    files = spool.worker_files("worker-1")
    for handle in files.open():
        os.write(handle, b"old")
        os.close(handle)
    files.clear()
    assert [read_truncated(path, 9) for path in files.paths.values()] == [EMPTY_STREAM] * 2
    spool.worker_files("worker-9").clear()


# ---------------------------------------------------------------------- housekeeping


def test_remove_files(spool: Spool) -> None:
    """The files of an attempt are deleted together, except those that hold the rest of its output."""
    for token in (TOKEN, TOKEN[::-1]):
        for each in (*STREAMS, "result"):
            spool.path(token, each).write_text("x" * 5000)
    spool.worker_files("worker-1").open()
    assert spool.tokens() == {TOKEN, TOKEN[::-1]}
    spool.remove(TOKEN, keep=frozenset({"stderr"}))
    assert sorted(each.name for each in spool.folder.glob(f"{TOKEN}*")) == [f"{TOKEN}.stderr"]
    assert spool.size(TOKEN, "stderr") == 5000
    assert spool.disk_usage() >= 4 * 5000
    spool.remove(TOKEN)
    spool.remove(TOKEN)
    assert spool.tokens() == {TOKEN[::-1]}


def test_everything_of_an_attempt_is_removed(spool: Spool) -> None:
    """All kinds of files, except those of streams that are kept."""
    kinds = ("stdout", "stderr", "result", "reply", "metrics", "displays", "displays.new")
    for kind in kinds:
        spool.path(TOKEN, kind).touch()
    folder = spool.folder / f"{TOKEN[::-1]}.artifacts"
    folder.mkdir(0o700)
    assert spool.tokens() == {TOKEN, TOKEN[::-1]}
    spool.remove(TOKEN, keep=frozenset({"stderr"}))
    assert [kind for kind in kinds if spool.path(TOKEN, kind).exists()] == ["stderr"]
    spool.remove(TOKEN)
    assert spool.tokens() == {TOKEN[::-1]}


@pytest.mark.parametrize("stream", STREAMS)
def test_files_that_a_job_has_removed_or_replaced(spool: Spool, tmp_path: Path, stream: str) -> None:
    """The other file is emptied, and the next attempt gets two regular files."""
    files = spool.worker_files("worker-1")
    for handle in files.open():
        os.write(handle, b"x")
        os.close(handle)
    os.unlink(files.paths[stream])
    files.clear()
    sizes = [os.path.getsize(path) for path in files.paths.values() if os.path.exists(path)]
    assert sizes == [0]
    os.symlink(tmp_path / "elsewhere", files.paths[stream])
    for handle in files.open():
        os.write(handle, b"y")
        os.close(handle)
    assert [Path(path).read_bytes() for path in files.paths.values()] == [b"y", b"y"]
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("what", ["stdout", "stderr", "result", "metrics", "replaced", "renamed"])
def test_whether_an_attempt_has_left_something(tmp_path: Path, pass_a_tick: Callable[[Path], None], what: str) -> None:
    """Everything that it can leave is noticed, also in files that have taken the place of those known before."""
    spool = Spool(tmp_path / "spool")
    spool.folder.mkdir()
    files = spool.worker_files("worker-1")
    path = Path(files.paths["stdout"])
    later = time.monotonic() + 3600

    def start() -> None:
        for handle in files.open():
            os.close(handle)

    start()
    assert not files.left_nothing(later)  # not known at first
    assert files.left_nothing(later)
    assert not files.left_nothing(0.0)
    assert files.left_nothing(later)
    pass_a_tick(spool.folder)
    if what == "replaced":
        path.unlink()
    elif what == "renamed":
        files.rename(TOKEN)
    if what in ("replaced", "renamed"):
        start()
        assert not files.left_nothing(later)
        assert files.left_nothing(later)
    written = path if what in ("replaced", "renamed") else Path(files.paths.get(what) or spool.path(TOKEN, what))
    written.write_text("1")
    assert not files.left_nothing(later)
    assert not files.left_nothing(0.0)
    written.write_text("")
    if what in files.paths:
        assert files.left_nothing(later)
