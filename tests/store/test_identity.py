"""A copy of a queue is recognized, and does not touch the processes of the original."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store import identity
from queuectl_nb.store.identity import birth_time, detect_copy
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.store.conftest import StoreHarness

COPIED = "the queue was copied while it ran"


def _queue_id(store: Store) -> str:
    with store.db.read() as connection:
        (found,) = connection.execute("SELECT id FROM identity").fetchone()
    return str(found)


def _sqlite_backup(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def _copy_project(source: Path, target: Path) -> None:
    """Copy the file with its sidecar files and its spool, as ``cp -r`` of the directory does."""
    for each in source.parent.glob(f"{source.name}*"):
        copy = target.with_name(target.name + each.name.removeprefix(source.name))
        shutil.copytree(each, copy) if each.is_dir() else shutil.copyfile(each, copy)


@pytest.mark.parametrize("copy", [_sqlite_backup, _copy_project])
def test_a_copy_fails_the_jobs_that_ran_in_the_original(
    harness: StoreHarness, tmp_path: Path, copy: Callable[[Path, Path], None]
) -> None:
    """A copy gets an id of its own; its running jobs are failed, or dead without budget; the original is unchanged."""
    harness.add("running", priority=2)
    harness.add("last-try", priority=1, max_retries=1)
    harness.add("waiting")
    harness.add("after", after=["last-try"])
    leases = harness.claim(1) + harness.claim(1)
    harness.store.workers.register(lambda _: True, pool=1, host="here", queues=(), now=harness.now)
    before = harness.dump()
    target = tmp_path / "copy.db"
    copy(harness.store.path, target)

    found = type(harness)(Store(target))
    assert found.states() == {"running": "failed", "last-try": "dead", "waiting": "pending", "after": "cancelled"}
    assert found.row("running")["error"] == COPIED
    assert found.row("running")["attempts"] == 1
    assert found.query("SELECT outcome, error, count(*) FROM attempts") == [("lost", COPIED, 2)]
    assert found.store.workers.list_all() == []
    assert found.store.workers.orphaned_workers() == []
    found.check_invariants()
    copied_id = _queue_id(found.store)
    assert copied_id != _queue_id(harness.store)
    found.store.db.close()
    reopened = Store(target)
    assert _queue_id(reopened) == copied_id, "only the first opening finds a copy"
    reopened.db.close()

    original = Store(harness.store.path)
    original.db.close()
    assert harness.dump() == before
    for lease in leases:
        assert harness.settle(lease) is not None  # not too late
        assert harness.state(lease.job_id) == "completed"


def test_a_copy_with_pages_of_different_times_is_refused(harness: StoreHarness, tmp_path: Path) -> None:
    """An index that lists a job that runs already would have it claimed twice."""
    path, copy = harness.store.path, tmp_path / "copy.db"
    harness.add("job")
    ((root, page_size),) = harness.query(
        "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'jobs_ready'"
    )
    harness.store.db.close()  # moves the write-ahead log into the file
    old = path.read_bytes()
    harness.store = Store(path)
    harness.claim()
    harness.store.db.close()
    mixed = bytearray(path.read_bytes())
    page = slice((root - 1) * page_size, root * page_size)
    assert mixed[page] != old[page]
    mixed[page] = old[page]
    copy.write_bytes(mixed)
    with pytest.raises(BadEnvironment, match=r"copy\.db is a damaged copy \(.*jobs_ready.*\); copy the queue again"):
        Store(copy)
    assert copy.read_bytes() == mixed
    harness.store = Store(path)


def test_a_renamed_queue_is_not_a_copy(harness: StoreHarness, tmp_path: Path) -> None:
    """A queue in a renamed directory keeps its id and its running jobs."""
    harness.add("running")
    harness.claim()
    harness.store.db.close()
    before = _queue_id(harness.store)
    harness.store.db.close()
    folder = tmp_path / "renamed"
    folder.mkdir()
    for each in tmp_path.glob("queue.db*"):
        each.rename(folder / each.name)
    renamed = Store(folder / "queue.db")
    assert _queue_id(renamed) == before
    assert [job.state for job in [renamed.jobs.get("running")]] == ["processing"]
    renamed.db.close()
    for each in folder.iterdir():
        each.rename(tmp_path / each.name)


@pytest.mark.parametrize("how", ["renamed over it", "written into it", "opened, then written into it"])
def test_a_backup_restored_over_the_original(harness: StoreHarness, tmp_path: Path, how: str) -> None:
    """A restored backup is a copy if its file is another one, or if it was used as a queue in between."""
    harness.add("running")
    harness.claim()
    path, backup = harness.store.path, tmp_path / "backup.db"
    _sqlite_backup(path, backup)
    harness.store.db.close()
    backup.chmod(0o600)
    if how.startswith("opened"):
        Store(backup).db.close()
    if how == "renamed over it":
        backup.replace(path)
    else:
        shutil.copyfile(backup, path)
    harness.store = Store(path)
    assert harness.state("running") == ("processing" if how == "written into it" else "failed")


def test_a_copy_with_the_inode_of_the_original(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another file system a copy may have the same inode: those who look for processes compare the birth time."""
    harness.add("running")
    harness.claim()
    born = birth_time(harness.store.path)
    detect_copy(harness.store.db, compare_birth_time=True)
    assert harness.state("running") == "processing"
    monkeypatch.setattr(identity, "birth_time", lambda _: None)
    detect_copy(harness.store.db, compare_birth_time=True)
    assert harness.state("running") == "processing", "an unknown birth time proves nothing"
    monkeypatch.setattr(identity, "birth_time", lambda _: (born or 0) + 1)
    detect_copy(harness.store.db)
    assert harness.state("running") == "processing"
    detect_copy(harness.store.db, compare_birth_time=True)
    assert harness.row("running")["error"] == COPIED


def test_the_birth_time_is_that_of_the_file(tmp_path: Path) -> None:
    """Writing to a file and renaming it leave its birth time as it was; a new file has a later one."""
    path = tmp_path / "one"
    path.write_text("1")
    born = birth_time(path)
    if born is None:
        pytest.skip("this file system does not record birth times")
    assert 0 < born <= path.stat().st_mtime_ns
    path.write_text("2")
    path.chmod(0o600)
    path = path.rename(tmp_path / "other")
    assert birth_time(path) == born
    (tmp_path / "two").touch()
    assert (birth_time(tmp_path / "two") or 0) >= born
    assert birth_time(tmp_path / "gone") is None


@pytest.mark.parametrize(
    ("found", "born"), [(SimpleNamespace(st_birthtime=1.5), 1_500_000_000), (SimpleNamespace(), None)]
)
def test_the_birth_time_on_other_systems(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: object, born: int | None
) -> None:
    """It is part of what ``stat`` returns, or unknown."""
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(os, "stat", lambda _: found)
    assert birth_time(tmp_path / "file") == born


def test_an_invalid_setting_does_not_keep_a_copy_from_being_used(harness: StoreHarness, tmp_path: Path) -> None:
    """A copy with an invalid setting is recognized too."""
    harness.add("running")
    harness.claim()
    with harness.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('max_retries', 'many')")
    _sqlite_backup(harness.store.path, tmp_path / "copy.db")
    copy = Store(tmp_path / "copy.db")
    assert copy.jobs.get("running").error == COPIED
    copy.db.close()


def test_the_second_name_of_a_queue_is_refused(harness: StoreHarness, tmp_path: Path) -> None:
    """A hard link would have sidecar files and a spool of its own, and its jobs would be lost."""
    harness.add("first")
    path, other = harness.store.path, tmp_path / "other.db"
    os.link(path, other)
    with pytest.raises(BadEnvironment, match=r"other\.db is a second name \(a hard link\) of a queue") as caught:
        Store(other)
    assert caught.value.exit_code == 3
    assert not list(tmp_path.glob("other.db-*"))
    again = Store(path)
    assert again.jobs.get("first").state == "pending"
    again.db.close()
    other.unlink()


def test_the_second_name_of_a_renamed_queue_is_refused(harness: StoreHarness, tmp_path: Path) -> None:
    """A queue that was renamed without its spool has a new one, under the name that may be used."""
    harness.add("first")
    path, renamed, other = harness.store.path, tmp_path / "renamed.db", tmp_path / "other.db"
    harness.store.db.close()
    path.rename(renamed)
    found = type(harness)(Store(renamed))
    found.add("second")
    found.store.db.close()
    os.link(renamed, other)
    with pytest.raises(BadEnvironment, match=r"other\.db is a second name"):
        Store(other)
    again = Store(renamed)
    assert again.jobs.get("second").state == "pending"
    again.db.close()
    other.unlink()
    renamed.rename(path)
    harness.store = Store(path)


def test_copies_that_were_linked_together_remain_two_queues(harness: StoreHarness, tmp_path: Path) -> None:
    """Programs that replace equal files by links skip small ones, so the copy keeps a spool of its own."""
    harness.add("first")
    harness.store.db.close()
    folder = tmp_path / "copy"
    folder.mkdir()
    for each in tmp_path.glob("queue.db*"):
        (shutil.copytree if each.is_dir() else shutil.copy2)(each, folder / each.name)
    copy = folder / harness.store.path.name
    copy.unlink()
    os.link(harness.store.path, copy)
    with pytest.raises(BadEnvironment, match="is a second name"):
        Store(copy)
    again = Store(harness.store.path)
    assert again.jobs.get("first").state == "pending"
    again.db.close()


def test_a_tree_of_hard_links_is_refused(harness: StoreHarness, tmp_path: Path) -> None:
    """After ``cp -al`` both names are refused, each with what is wrong with it, until one tree is gone."""
    harness.add("first")
    harness.store.db.close()
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for each in tmp_path.glob("queue.db*"):
        each.rename(source / each.name)
    shutil.copytree(source, target, copy_function=os.link)
    with pytest.raises(BadEnvironment, match=r"source/queue\.db and its spool have hard links, as 'cp -al' makes them"):
        Store(source / "queue.db")
    with pytest.raises(BadEnvironment, match=r"target/queue\.db is a second name"):
        Store(target / "queue.db")
    shutil.rmtree(target)
    for each in source.iterdir():
        each.rename(tmp_path / each.name)
