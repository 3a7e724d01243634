"""``doctor``: what is wrong is found, named and given its remedy."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.client import doctor
from queuectl_nb.engine import heartbeat
from queuectl_nb.store.paths import spool_dir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.conftest import Ran


@pytest.fixture
def wrong(run: Callable[..., Ran]) -> Callable[..., dict[str, dict[str, Any]]]:
    """Return a function that gives what ``doctor`` finds wrong, by check; exit code and remedies are checked."""

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
def test_a_sound_queue_is_told_so(run: Callable[..., Ran]) -> None:
    """Every check is listed, and the exit code is 0."""
    ran = run("doctor")
    assert ran.exit_code == 0
    checks = [line.split()[0] for line in ran.stdout.splitlines()[1:]]
    expected = "interpreter SQLite file file disk modes opens integrity schema counts settings workers spool".split()  # noqa: SIM905
    assert checks == [check for check in expected if check != "opens"]
    assert "wrong" not in ran.stdout


def test_a_queue_that_is_not_there_is_not_made(wrong: Callable[..., Any], tmp_path: Path) -> None:
    """Looking leaves no trace."""
    assert wrong("--db", str(tmp_path / "new.db")) == {}
    assert not (tmp_path / "new.db").exists()


def test_what_others_can_read_is_found(wrong: Callable[..., Any], queue: Queue) -> None:
    """A file or folder that is open to others is named with the command that closes it."""
    spool = spool_dir(queue.path)
    spool.chmod(0o755)
    assert wrong()["modes"]["remedy"] == f"chmod 700 {spool}"
    assert wrong() == {}, "opening the queue has closed the folder"
    queue.path.chmod(0o644)
    assert wrong()["modes"]["remedy"] == f"chmod 600 {queue.path}"


def test_a_file_that_is_no_queue_is_found(wrong: Callable[..., Any], tmp_path: Path) -> None:
    """Random bytes and somebody else's database are named, and left as they are."""
    junk = tmp_path / "junk.db"
    junk.write_bytes(os.urandom(8192))
    before = junk.read_bytes()
    assert "not a queue" in wrong("--db", str(junk))["opens"]["finding"]
    assert junk.read_bytes() == before
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    assert "not a queue" in wrong("--db", str(other))["opens"]["finding"]


def test_a_damaged_file_is_found(wrong: Callable[..., Any], queue: Queue) -> None:
    """A page of the file that was written over is found before a job meets it."""
    with queue.store.db.write() as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_ready'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    queue.close()
    with queue.path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    assert {"integrity", "opens"} & set(wrong())


def test_a_schema_changed_by_hand_is_found(wrong: Callable[..., Any], queue: Queue) -> None:
    """A trigger that somebody dropped is missed, and so are the counts that it kept."""
    queue.enqueue_specs([])
    with queue.store.db.write() as connection:
        connection.execute("DROP TRIGGER jobs_added")
        connection.execute("INSERT INTO tally VALUES ('ghost', 'pending', 5)")
    bad = wrong()
    assert "jobs_added" in bad["schema"]["finding"]
    assert "ghost pending" in bad["counts"]["finding"]


def test_a_spoilt_setting_is_found(wrong: Callable[..., Any], queue: Queue) -> None:
    """The remedy is the very command that mends it."""
    with queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('lease', 'long')")
    assert wrong()["settings"]["remedy"] == "queuectl config unset lease"


def test_a_lost_worker_is_found(wrong: Callable[..., Any], queue: Queue) -> None:
    """A registered worker whose lock nobody holds is lost; one whose lock is held is not."""
    handles: list[int] = []

    def hold(name: str) -> bool:
        handle = heartbeat.take_lock(queue.store.worker_dir, name)
        assert handle is not None
        handles.append(handle)
        return True

    queue.store.workers.register(hold, pool=1, host="here", queues=[], now=0.0)
    assert wrong() == {}
    os.close(handles[0])
    assert "worker-1" in wrong()["workers"]["finding"]


def test_output_of_no_job_is_found(wrong: Callable[..., Any], queue: Queue) -> None:
    """A spool file without its attempt is named with the command that removes it."""
    orphan = queue.store.spool.path("0" * 32, "stdout")
    orphan.write_text("left")
    finding = wrong()["spool"]
    assert "1 of deleted jobs" in finding["finding"]
    assert finding["remedy"] == f"rm {orphan.with_suffix('.*')}"


@pytest.mark.usefixtures("queue")
def test_a_network_file_system_and_a_full_disk_are_found(
    wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where locks cannot be trusted and where there is no room left, the queue's place is at fault."""
    monkeypatch.setattr(doctor, "network_fs_type", lambda _path: "nfs4")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    bad = wrong()
    assert "nfs4" in bad["file system"]["finding"]
    assert "--allow-network-fs" in bad["file system"]["remedy"]
    assert "1000 Bytes free" in bad["disk space"]["finding"]
    assert "file system" not in wrong("--allow-network-fs")


@pytest.mark.usefixtures("queue")
def test_an_interpreter_and_a_library_that_are_too_old_are_found(
    wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What queuectl itself stands on is looked at first."""
    monkeypatch.setattr(doctor, "sqlite_version", lambda: (3, 7, 0))
    monkeypatch.setattr("sys.executable", "/gone/python")
    bad = wrong()
    assert bad["SQLite"]["finding"] == "SQLite 3.7.0"
    assert "installed" in bad["interpreter"]["remedy"]
