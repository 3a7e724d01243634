"""Registration of workers, and the settings."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import BadInput, InvalidSetting
from queuectl_nb.model.settings import SETTINGS, Settings
from queuectl_nb.store.claims import StartedAttempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.conftest import StoreHarness


def _register(harness: StoreHarness, hold: Any = lambda _: True, **facts: Any) -> str:
    (name,) = _register_all(harness, hold, **facts)
    return name


def _register_all(harness: StoreHarness, hold: Any = lambda _: True, **facts: Any) -> list[str]:
    values = {"pool": 1, "host": "here", "queues": (), "now": harness.now, **facts}
    names: list[str] = harness.store.workers.register(hold, **values)
    return names


# ---------------------------------------------------------------------- register


def test_lowest_free_names(harness: StoreHarness) -> None:
    """Workers are ``worker-1``, ``worker-2`` …; the lowest free number is reused."""
    assert [_register(harness) for _ in range(11)] == [f"worker-{n}" for n in range(1, 12)]
    assert [row.name for row in harness.store.workers.list_all()][-3:] == ["worker-9", "worker-10", "worker-11"]
    harness.store.workers.remove("worker-3")
    assert _register(harness) == "worker-3"


def test_names_in_use_are_skipped(harness: StoreHarness) -> None:
    """A name whose lock is held, or whose jobs are still to be rescued, is skipped."""
    harness.add("a")
    harness.claim_job("a", "worker-2")
    assert harness.store.workers.orphaned_workers() == ["worker-2"]
    asked: list[str] = []

    def lock(name: str) -> bool:
        asked.append(name)
        return name != "worker-1"

    assert _register_all(harness, lock, count=2) == ["worker-3", "worker-4"]
    assert asked == ["worker-1", "worker-3", "worker-4"]


def test_lock_before_row(harness: StoreHarness) -> None:
    """The worker's row is visible only once its lock is held, so that it never looks dead."""
    seen: list[int] = []

    def hold(_: str) -> bool:
        look = sqlite3.connect(harness.store.path)
        seen.append(look.execute("SELECT count(*) FROM workers").fetchone()[0])
        look.close()
        return True

    _register(harness, hold)
    assert seen == [0]
    assert len(harness.store.workers.list_all()) == 1


def test_lock_error(harness: StoreHarness) -> None:
    """An error while the lock is taken registers no worker."""

    def hold(_: str) -> bool:
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        _register(harness, hold)
    assert harness.store.workers.list_all() == []


REGISTER = """
import fcntl, os
from pathlib import Path
from queuectl_nb.store.store import Store
store = Store(Path(sys.argv[1]))
held = []
def hold(name):
    handle = os.open(store.worker_dir / name, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    held.append(handle)
    return True
# go
names = store.workers.register(hold, count=5, pool=1, host="h", queues=(), now=time.time())
print(*names)
"""


def test_names_are_unique_among_processes(harness: StoreHarness, processes: Any) -> None:
    """Eight processes that register five workers each at once get forty different names."""
    for _ in range(8):
        processes.add(REGISTER, harness.store.path)
    names = " ".join(processes.start_all()).split()
    assert sorted(names) == sorted(f"worker-{n}" for n in range(1, 41))


def test_worker_row(harness: StoreHarness) -> None:
    """The row of a worker from registration to the stop request."""
    name = _register(harness, queues=["x", "y"])
    workers = harness.store.workers
    (row,) = workers.list_all()
    assert (row.name, row.pid, row.host, row.pool, row.queues) == (name, None, "here", 1, ("x", "y"))
    assert (row.started_at, row.jobs_done, row.stop) == (harness.now, 0, None)
    workers.mark_running({name: 77}, harness.now + 1)
    assert [(row.pid, row.started_at) for row in workers.list_all()] == [(77, harness.now + 1)]
    assert workers.read_inputs(name)[0] is None
    workers.request_stop([name, "nobody"], "drain")
    assert workers.read_inputs(name)[0] == "drain"
    workers.request_stop([name], "now")
    workers.request_stop([name], "drain")
    assert workers.read_inputs(name)[0] == "now", "who was asked to stop now is not asked to take its time"
    workers.remove(name)
    assert workers.read_inputs(name)[0] == "now"


def test_current_job(harness: StoreHarness) -> None:
    """Of several claims the started one is shown, or before that the first."""
    harness.add("old", "older", priority=0)
    harness.add("urgent", priority=1)
    first, second, third = harness.claim(3)
    assert first.job_id == "urgent"
    assert harness.store.workers.current_jobs() == {"worker-1": "urgent"}
    harness.settle_and_claim(started=[StartedAttempt(second, 5, harness.now + 1)])
    assert harness.store.workers.current_jobs() == {"worker-1": "old"}
    harness.settle_and_claim(released=[first, third])


# ---------------------------------------------------------------------- settings


def test_set_and_unset(harness: StoreHarness) -> None:
    """A value is validated, stored and visible to all at once; unset restores the default."""
    table = harness.store.settings
    assert table.read() == Settings.from_stored({})
    assert table.set("max-retries", "5") == ("max_retries", 5)
    assert table.set("backoff_base", "1.5") == ("backoff_base", 1.5)
    assert table.set("timeout", 10) == ("timeout", 10)
    seen: list[Settings] = []
    other = threading.Thread(target=lambda: seen.append(table.read()))
    other.start()
    other.join()
    assert seen == [Settings.from_stored({"max_retries": "5", "backoff_base": "1.5", "timeout": "10"})]
    assert table.unset("max-retries") == ("max_retries", 3)
    assert table.read().max_retries == 3
    assert harness.query("SELECT key, value FROM settings ORDER BY 1") == [("backoff_base", "1.5"), ("timeout", "10")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backoff_base", "banana"),
        ("backoff_base", 0),
        ("max_retries", 0),
        ("max_retries", 10**6),
        ("timeout", -1),
        ("timeout", float("nan")),
        ("lease", 1),
        ("output_limit", 2**40),
        ("keep_env", "A=1"),
        ("colour", "red"),
        ("' OR 1=1--", "1"),
    ],
)
def test_invalid_setting(harness: StoreHarness, key: str, value: object) -> None:
    """An unknown key or a value out of bounds is exit code 2, and nothing is stored."""
    before = harness.dump()
    with pytest.raises(BadInput):
        harness.store.settings.set(key, value)
    with pytest.raises(BadInput):
        harness.store.settings.unset(key if key not in SETTINGS else "colour")
    assert harness.dump() == before


@pytest.mark.parametrize("value", ["banana", "", "-1", "1e400", b"\xff\x00", 7.5, "\u0663", None])
def test_invalid_stored_setting(harness: StoreHarness, value: object) -> None:
    """An invalid stored value is exit code 3 with the key; ``set`` and ``unset`` repair it."""
    repairs: list[Callable[[], object]] = [
        lambda: harness.store.settings.set("max_retries", 4),
        lambda: harness.store.settings.unset("max_retries"),
    ]
    for repair in repairs:
        with harness.store.db.write() as connection:
            sql = (
                "INSERT OR REPLACE INTO settings (key, value) VALUES ('max_retries', coalesce(?, CAST(x'ff' AS TEXT)))"
            )
            connection.execute(sql, (value,))  # None is replaced by text that is not UTF-8
        with pytest.raises(InvalidSetting, match=r"^invalid stored value for setting max_retries") as caught:
            harness.store.settings.read()
        assert caught.value.exit_code == 3
        repair()
    assert harness.store.settings.read().max_retries == 3
