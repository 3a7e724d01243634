"""All jobs of a filter a piece at a time: what a list of a million is made of."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.outcome import Exited
from queuectl_nb.store import job_lists
from queuectl_nb.store.job_lists import iter_jobs
from queuectl_nb.store.reader import Filter


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three jobs be a piece."""
    monkeypatch.setattr(job_lists, "CHUNK_ROWS", 3)


def _several(harness: Any) -> None:
    """Make ten jobs of two queues, some with a tag, some ended, last changed in an order that is not theirs."""
    for number in range(10):
        harness.add(f"j{number}", queue="odd" if number % 2 else "even", tags=["t"] if number > 3 else [])
    for job_id in ("j0", "j1", "j2"):
        harness.run(job_id, Exited(int(job_id == "j1")))


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"reverse": True},
        {"state": "pending"},
        {"state": "completed"},
        {"queue": "odd"},
        {"tag": "t", "sort": "id", "reverse": True},
        {"text": "j1"},
        {"limit": 2},
        {"limit": 5},
        {"limit": 0},
        {"sort": "state", "limit": 7},
        {"state": "dead"},
    ],
)
def test_the_pieces_are_the_whole(harness: Any, wanted: dict[str, Any]) -> None:
    """Piece by piece come the same jobs in the same order as at once."""
    _several(harness)
    every = Filter.from_options(**wanted)
    assert list(iter_jobs(harness.store.db, harness.store.reader, every)) == harness.store.reader.jobs(every)


def test_each_job_is_as_it_is_when_its_turn_comes(harness: Any) -> None:
    """What was removed, or does not fit any more, between two pieces is left out; nothing comes twice."""
    _several(harness)
    found = iter_jobs(harness.store.db, harness.store.reader, Filter.from_options(state="pending", sort="id"))
    ids = [next(found).id]
    harness.store.jobs.delete(["j7"], harness.now)
    harness.store.jobs.cancel(["j8"], harness.now)
    harness.add("j95")
    ids += [job.id for job in found]
    assert ids == ["j3", "j4", "j5", "j6", "j9"]


def test_nothing_is_held_open_between_pieces(harness: Any) -> None:
    """While a slow reader takes its time, the connection is in no transaction: the WAL can be written back."""
    _several(harness)
    found = iter_jobs(harness.store.db, harness.store.reader, Filter.from_options())
    next(found)
    assert not harness.store.db.connection().in_transaction
    found.close()
