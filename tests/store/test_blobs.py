"""Blobs and payloads: durable before the job, shared, removed with the last job, and never lost by a kill."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.child.blob import MIN_PARALLEL_BYTES, digest, open_blob, read_blob, write_blob, write_new_blob
from queuectl_nb.client import Queue
from queuectl_nb.client.payload import Content
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.call import Blob
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store.blobs import STRAY_AGE_S, find_missing, find_strays, remove_strays
from queuectl_nb.store.claims import Claims, EndedAttempt

if TYPE_CHECKING:
    from tests.commands.manual_worker import ManualWorker

LARGE = b"x" * 100_000


def blob_files(queue: Queue) -> list[Path]:
    """Return the files of blobs."""
    return sorted(Path(queue.store.db.output_dir).glob("blobs/*"))


def test_write_and_read(tmp_path: Path) -> None:
    """A blob is written once, is private, and its content is checked."""
    folder = f"{tmp_path}/blobs"
    name = digest(LARGE)
    for _ in range(2):
        write_blob(folder, name, LARGE)
    path = f"{folder}/{name}"
    assert os.listdir(folder) == [name]
    assert (os.stat(folder).st_mode & 0o777, os.stat(path).st_mode & 0o777) == (0o700, 0o600)
    assert read_blob(path) == LARGE
    Path(path).write_bytes(LARGE[:-1] + b"y")
    with pytest.raises(OSError, match="content was changed"):
        read_blob(path)
    Path(path).write_bytes(b"short")
    write_blob(folder, name, LARGE)  # an incomplete file is replaced
    assert read_blob(path) == LARGE


def refuse(_: threading.Thread) -> None:
    """Start no thread."""
    raise RuntimeError


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("size", [1, MIN_PARALLEL_BYTES])
def test_name_of_a_new_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, threads: bool, size: int) -> None:
    """It is the hash of the content, also where no thread can be started that computes it meanwhile."""
    if not threads:
        monkeypatch.setattr(threading.Thread, "start", refuse)
    body = os.urandom(size)
    assert write_new_blob(str(tmp_path / "blobs"), body) == digest(body)
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == [digest(body)]
    assert read_blob(str(tmp_path / "blobs" / digest(body))) == body


def test_a_large_blob_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of it, and no thread."""

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    before = threading.active_count()
    with pytest.raises(OSError, match="No space left"):
        write_new_blob(str(tmp_path / "blobs"), bytes(MIN_PARALLEL_BYTES))
    assert threading.active_count() == before
    assert not [*(tmp_path / "blobs").iterdir()]


@pytest.mark.parametrize("size", [1, MIN_PARALLEL_BYTES])
def test_changed_content_is_not_read(tmp_path: Path, size: int) -> None:
    """The content of a blob is checked before it can be unpickled."""
    path = tmp_path / write_new_blob(str(tmp_path), bytes(size))
    with open_blob(str(path)) as file:
        assert file.read() == bytes(size)
    path.write_bytes(b"x" * size)
    with pytest.raises(OSError, match="content was changed"), open_blob(str(path)):
        pytest.fail("the file was opened")


@pytest.mark.parametrize("sizes", [[0], [10, MIN_PARALLEL_BYTES, 10, MIN_PARALLEL_BYTES], [10, 10]])
def test_content_that_is_hashed_while_it_is_written(sizes: list[int]) -> None:
    """Its name is the hash of all parts."""
    content = Content()
    parts = [os.urandom(size) for size in sizes]
    assert [content.write(memoryview(part)) for part in parts] == sizes
    assert content.blob() == Blob(digest(b"".join(parts)), b"".join(parts))


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link in place of a blob is neither read nor written through."""
    victim = tmp_path / "victim"
    victim.write_bytes(LARGE)
    (tmp_path / "blobs").mkdir()
    path = tmp_path / "blobs" / digest(LARGE)
    path.symlink_to(victim)
    with pytest.raises(OSError, match=r"symbolic link|Too many levels"):
        read_blob(str(path))
    write_blob(str(path.parent), path.name, LARGE)
    assert not path.is_symlink()
    assert victim.read_bytes() == LARGE


def test_shared_and_removed(queue: Queue) -> None:
    """Jobs of a ``map`` share function and arguments, which are removed with the last job."""
    first, second = queue.map(len, [LARGE, LARGE])
    (path,) = blob_files(queue)
    other = Path(f"{path.parent}/{digest(b'other')}")  # of an enqueue that has not come to its transaction
    other.touch()
    assert queue.db["blobs"].count == 3  # function, interpreter and argument
    queue.delete(first)
    assert queue.db["blobs"].count == 3
    queue.delete(second)
    assert queue.db["blobs"].count == queue.db["payloads"].count == queue.db["job_blobs"].count == 0
    assert blob_files(queue) == [other]
    os.utime(other, (time.time() - STRAY_AGE_S - 1,) * 2)
    assert find_strays(queue.store.db, time.time()) == [other.name]
    assert remove_strays(queue.store.db, time.time(), 2 * STRAY_AGE_S) == 0
    assert remove_strays(queue.store.db, time.time()) == 1
    assert blob_files(queue) == []


def test_removed_during_an_attempt_that_may_use_it(queue: Queue, manual_worker: ManualWorker) -> None:
    """A file that is newer than a running attempt stays: the value of that attempt may be the same."""
    (job,) = queue.map(len, ["a"])
    manual_worker.claim(job.id)
    queue.delete(queue.submit(len, LARGE))
    assert len(blob_files(queue)) == 1


def test_a_used_file_is_not_a_stray(queue: Queue) -> None:
    """A file that a job needs stays, whatever its age; a new job that needs an old file renews it."""
    job = queue.submit(len, LARGE)
    (path,) = blob_files(queue)
    os.utime(path, (0, 0))
    assert remove_strays(queue.store.db, time.time()) == 0
    queue.delete(job)  # which removes strays as old as this one
    assert blob_files(queue) == []
    job = queue.submit(len, LARGE)
    os.utime(path, (0, 0))
    queue.submit(len, LARGE)
    assert time.time() - path.stat().st_mtime < STRAY_AGE_S


def test_a_value_that_is_not_recorded_yet_is_not_a_stray(queue: Queue, manual_worker: ManualWorker) -> None:
    """The calls of a chunk write their values one by one, and the attempt is recorded hours later."""
    (job,) = queue.map(len, ["a", "b"], chunksize=2)
    lease = manual_worker.claim(job.id)
    write_blob(f"{queue.store.db.output_dir}/blobs", digest(LARGE), LARGE)
    hours_later = time.time() + 10 * STRAY_AGE_S
    assert find_strays(queue.store.db, hours_later) == []
    claims = Claims(queue.store.db, "worker-1", "here")
    ended = [EndedAttempt(lease, Exited(1), Ending(time.time()))]
    claims.settle_and_claim(ended=ended, settings=queue.settings, now=time.time(), rand=0.0)
    assert remove_strays(queue.store.db, hours_later) == 1


def test_a_file_that_is_removed_meanwhile_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that others have written and that is removed as a stray between check and renewal is written again."""
    write_blob(str(tmp_path), digest(LARGE), LARGE)

    def remove_and_renew(path: str) -> None:
        os.unlink(path)
        raise FileNotFoundError(path)

    monkeypatch.setattr("queuectl_nb.child.blob.os.utime", remove_and_renew)
    write_blob(str(tmp_path), digest(LARGE), LARGE)
    assert os.listdir(tmp_path) == [digest(LARGE)]


def test_a_file_removed_before_the_transaction_is_written_again(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the transaction that refers to a file, the file is checked once more."""
    from queuectl_nb.store import blobs

    write, calls = blobs.write_blob_files, []

    def write_and_remove(*args: object) -> None:
        calls.append(args)
        write(*args)  # type: ignore[arg-type]
        if len(calls) == 1:
            blob_files(queue)[0].unlink()

    monkeypatch.setattr(blobs, "write_blob_files", write_and_remove)
    queue.submit(len, LARGE)
    assert len(calls) == 2
    assert find_missing(queue.store.db) == []


def test_full_disk(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without space for an argument nothing is enqueued, and nothing of it stays."""

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("queuectl_nb.child.blob.os.fsync", fail)
    with pytest.raises(BadEnvironment, match="No space left on device"):
        queue.submit(len, LARGE)
    monkeypatch.undo()
    assert len(queue.jobs()) == 0
    assert blob_files(queue) == []


def test_kill_during_an_enqueue(queue: Queue, tmp_path: Path) -> None:
    """A kill at any instant leaves no job without its payload; files of unfinished enqueues are strays later."""
    script = (
        "import os, sys; from queuectl_nb import Queue; q = Queue(sys.argv[1])\n"
        "for n in range(10_000): print(q.submit(len, f'{os.getpid()}-{n}-'.encode() * 10_000).id, flush=True)"
    )
    for lines in range(1, 5):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(queue.path)], stdout=subprocess.PIPE, cwd=tmp_path
        ) as process:
            assert process.stdout is not None
            for _ in range(lines):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            acknowledged = process.stdout.read().split()
        assert all(queue.job(name.decode()).state == "pending" for name in acknowledged)
    jobs = len(queue.jobs())
    assert queue.db["payloads"].count == jobs > 0
    assert find_missing(queue.store.db) == []
    strays = find_strays(queue.store.db, time.time() + STRAY_AGE_S + 60)
    assert len(strays) + jobs == len(blob_files(queue))


def test_backup_contains_blobs(queue: Queue, tmp_path: Path) -> None:
    """A backup is complete without the files beside the queue."""
    from queuectl_nb.testing import run_pending

    job = queue.submit(len, LARGE)
    (tmp_path / "copy").mkdir()
    copy = Queue(queue.backup(tmp_path / "copy" / "backup.db"))
    assert [each.id for each in run_pending(copy)] == [job.id]
    assert copy.job(job.id).result() == len(LARGE)


def test_blob_names() -> None:
    """A blob is named by the SHA-256 of its content."""
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Blob(digest(b""), b"").body == b""
