"""``doctor``: each problem is found, named and has a remedy."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.client import doctor
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.engine import heartbeat
from queuectl_nb.store.paths import spool_dir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.conftest import Ran


@pytest.fixture
def find_problems(run: Callable[..., Ran]) -> Callable[..., dict[str, dict[str, Any]]]:
    """Return a function that runs ``doctor`` and returns the problems by check."""

    def examine(*words: str) -> dict[str, dict[str, Any]]:
        ran = run(*words, "doctor", "--json")
        findings = json.loads(ran.stdout)
        bad = {found["check"]: found for found in findings if not found["ok"]}
        assert ran.exit_code == (3 if bad else 0)
        assert ran.stderr == ""
        for found in findings:
            assert bool(found["remedy"]) is not found["ok"]
        return bad

    return examine


@pytest.mark.usefixtures("queue")
def test_healthy_queue(run: Callable[..., Ran]) -> None:
    """Every check is listed, and the exit code is 0."""
    ran = run("doctor")
    assert ran.exit_code == 0
    checks = [line.split()[0] for line in ran.stdout.splitlines()[1:]]
    before_opening = "interpreter SQLite file file disk modes"
    assert (
        checks
        == f"{before_opening} integrity schema counts times settings workers spool blobs artifacts space growth".split()
    )
    assert "wrong" not in ran.stdout


def test_missing_queue(find_problems: Callable[..., Any], tmp_path: Path) -> None:
    """A missing queue is reported and not created."""
    assert find_problems("--db", str(tmp_path / "new.db")) == {}
    assert not (tmp_path / "new.db").exists()


def test_directory_that_cannot_be_written(
    find_problems: Callable[..., Any], queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory in which no queue can be created, or beside whose queue SQLite can create no files, is named."""
    access = os.access

    def read_only(path: Any, mode: int, **options: Any) -> bool:
        return access(path, mode, **options) and not (path == tmp_path and mode & os.W_OK)

    monkeypatch.setattr(os, "access", read_only)
    monkeypatch.setattr(os, "supports_effective_ids", set())
    for path in (tmp_path / "new.db", queue.path):
        assert find_problems("--db", str(path))["file"]["finding"] == f"the directory {tmp_path} is not writable"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.delenv("QUEUECTL_DB")
    monkeypatch.chdir(tmp_path)
    assert find_problems()["file"]["finding"] == f"the directory {tmp_path} is not writable"
    assert "no directory" in find_problems("--db", str(tmp_path / "gone" / "new.db"))["file"]["finding"]


def test_invalid_time(find_problems: Callable[..., Any], run: Callable[..., Ran], queue: Queue) -> None:
    """A time that was edited by hand to something that is none ends in one line; doctor names the job."""
    queue.enqueue("true", id="a")
    for value in (1e300, float("inf"), -1e300, 1e17, "soon"):
        with queue.store.db.write() as connection:
            connection.execute("UPDATE jobs SET run_at = ?", (value,))
        for words in (["list"], ["list", "--json"], ["show", "a"]):
            ran = run(*words)
            assert (ran.exit_code, ran.stdout) == (3, "")
            assert "invalid stored time" in ran.stderr
            assert len(ran.stderr.splitlines()) == 1
        assert "run_at of job a is" in find_problems()["times"]["finding"]


def test_modes(find_problems: Callable[..., Any], queue: Queue) -> None:
    """A file or folder that others can access is reported with the command that fixes it."""
    spool = spool_dir(queue.path)
    spool.chmod(0o755)
    assert find_problems()["modes"]["remedy"] == f"chmod 700 {spool}"
    assert find_problems() == {}, "opening the queue has closed the folder"
    queue.path.chmod(0o644)
    assert find_problems()["modes"]["remedy"] == f"chmod 600 {queue.path}"
    queue.path.chmod(0o400)
    assert find_problems()["modes"]["remedy"] == f"chmod 600 {queue.path}"
    queue.path.chmod(0o600)
    for name, mode in (("", 0o700), ("output", 0o700), ("worker", 0o700), ("write.lock", 0o600)):
        (spool / name).chmod(0o500)
        assert find_problems()["modes"]["remedy"] == f"chmod {mode:o} {spool / name}"
        (spool / name).chmod(mode)
    (spool / "write.lock").unlink()
    (spool / "write.lock").mkdir()
    wrong = {"finding": f"{spool / 'write.lock'} is not a regular file", "remedy": "move it away"}
    assert wrong.items() <= find_problems()["modes"].items()
    assert list(find_problems("--db", str(spool))) == ["opens"], "a directory of the user is not to be moved"


def test_other_files(find_problems: Callable[..., Any], tmp_path: Path) -> None:
    """Random bytes and foreign databases are reported and left unchanged."""
    junk = tmp_path / "junk.db"
    junk.write_bytes(os.urandom(8192))
    before = junk.read_bytes()
    assert "not a queue" in find_problems("--db", str(junk))["opens"]["finding"]
    assert junk.read_bytes() == before
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    assert "not a queue" in find_problems("--db", str(other))["opens"]["finding"]


def test_damaged_file(find_problems: Callable[..., Any], queue: Queue) -> None:
    """An overwritten page of the file is reported."""
    with queue.store.db.write() as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_ready'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    queue.close()
    with queue.path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    assert {"integrity", "opens"} & set(find_problems())


def test_changed_schema(find_problems: Callable[..., Any], queue: Queue) -> None:
    """A dropped trigger and the counts that it maintained are reported."""
    enqueue_specs(queue, [])
    with queue.store.db.write() as connection:
        connection.execute("DROP TRIGGER jobs_added")
        connection.execute("INSERT INTO tally VALUES ('ghost', 'pending', 5)")
    bad = find_problems()
    assert "jobs_added" in bad["schema"]["finding"]
    assert "ghost pending" in bad["counts"]["finding"]


def test_invalid_stored_setting(find_problems: Callable[..., Any], queue: Queue) -> None:
    """The remedy is the command that fixes it."""
    with queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('lease', 'long')")
    assert find_problems()["settings"]["remedy"] == "queuectl config unset lease"


def test_lost_worker(find_problems: Callable[..., Any], queue: Queue) -> None:
    """A registered worker without its lock is reported, one with it is not."""
    handles: list[int] = []

    def hold(name: str) -> bool:
        handle = heartbeat.take_lock(queue.store.worker_dir, name)
        assert handle is not None
        handles.append(handle)
        return True

    queue.store.workers.register(hold, pool=1, host="here", queues=[], now=0.0)
    assert find_problems() == {}
    os.close(handles[0])
    assert "worker-1" in find_problems()["workers"]["finding"]


def test_orphaned_output(find_problems: Callable[..., Any], queue: Queue) -> None:
    """A spool file without an attempt is reported with the command that deletes it."""
    orphan = queue.store.spool.path("0" * 32, "stdout")
    orphan.write_text("left")
    finding = find_problems()["spool"]
    assert "1 of deleted jobs" in finding["finding"]
    assert finding["remedy"] == f"rm -r {orphan.with_suffix('.*')}"


def test_free_pages(run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free pages are counted, with the command that gives them back; they are not a problem."""
    monkeypatch.setattr(doctor, "KEPT_BYTES", 100_000)
    queue.enqueue_many([{"command": "x" * 50_000}] * 10)
    assert "; 'queuectl" not in run("doctor").stdout
    queue.cancel(*queue.jobs().index)
    queue.prune(0)
    assert re.search(
        r"space in the file +ok +\d+\.\d KiB, of which \d+ pages \(\d+\.\d KiB\) are free;"
        r" 'queuectl prune --vacuum' gives them back",
        run("doctor").stdout,
    )


@pytest.mark.usefixtures("queue")
def test_file_system(find_problems: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system and a full disk are reported."""
    monkeypatch.setattr(doctor, "network_fs_type", lambda _path: "nfs4")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    bad = find_problems()
    assert "nfs4" in bad["file system"]["finding"]
    assert "--allow-network-fs" in bad["file system"]["remedy"]
    assert "1000 Bytes free" in bad["disk space"]["finding"]
    assert "file system" not in find_problems("--allow-network-fs")


@pytest.mark.usefixtures("queue")
def test_old_versions(find_problems: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An old Python and an old SQLite are reported first."""
    monkeypatch.setattr(doctor, "SQLITE_VERSION", (3, 7, 0))
    monkeypatch.setattr("sys.executable", "/gone/python")
    bad = find_problems()
    assert bad["SQLite"]["finding"] == "SQLite 3.7.0"
    assert "installed" in bad["interpreter"]["remedy"]


@pytest.mark.parametrize(("version", "too_old"), [((3, 37, 2), True), ((3, 38, 0), False)])
def test_oldest_sqlite(
    find_problems: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], too_old: bool
) -> None:
    """The queries need the operator ``->>`` of SQLite 3.38."""
    monkeypatch.setattr(doctor, "SQLITE_VERSION", version)
    found = find_problems()
    assert ("SQLite" in found) == too_old
    if too_old:
        assert found["SQLite"]["remedy"] == "use a Python built with SQLite 3.38.0 or newer"
