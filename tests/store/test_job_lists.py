"""All jobs of a filter, read in pieces: the basis of lists of a million jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.outcome import Exited
from queuectl_nb.store import job_lists
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.job_lists import JobOrder, QueryStopped, StoredOutput, iter_jobs, iter_outputs

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit a piece to three jobs."""
    monkeypatch.setattr(job_lists, "CHUNK_ROWS", 3)


def _several(harness: StoreHarness) -> None:
    """Create ten jobs in two queues, some with a tag, some finished, changed in another order than enqueued."""
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
        {"search": "j1"},
        {"limit": 2},
        {"limit": 5},
        {"limit": 0},
        {"sort": "state", "limit": 7},
        {"state": "dead"},
    ],
)
def test_pieces_equal_the_whole_list(harness: StoreHarness, wanted: dict[str, Any]) -> None:
    """The pieces contain the same jobs in the same order as a single read."""
    _several(harness)
    every = Filter.from_options(**wanted)
    assert list(iter_jobs(harness.store.db, harness.store.reader, every)) == harness.store.reader.jobs(every)


def test_changes_between_pieces(harness: StoreHarness) -> None:
    """A job that was deleted or no longer matches between two pieces is left out; none comes twice."""
    _several(harness)
    found = iter_jobs(harness.store.db, harness.store.reader, Filter.from_options(state="pending", sort="id"))
    ids = [next(found).id]
    harness.store.jobs.delete(["j7"], harness.now)
    harness.store.jobs.cancel(["j8"], harness.now)
    harness.add("j95")
    ids += [job.id for job in found]
    assert ids == ["j3", "j4", "j5", "j6", "j9"]


def test_no_transaction_between_pieces(harness: StoreHarness) -> None:
    """A slow reader holds no transaction open between pieces, so the WAL can be checkpointed."""
    _several(harness)
    found = iter_jobs(harness.store.db, harness.store.reader, Filter.from_options())
    next(found)
    assert not harness.store.db.connection().in_transaction


def test_reading_the_order_can_be_stopped(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks every now and then; afterwards the connection works as before."""
    monkeypatch.setattr(job_lists, "PROGRESS_INSTRUCTIONS", 1)
    harness.add(*"abc")
    order = JobOrder(harness.store.db)
    with pytest.raises(QueryStopped):
        order.read_order(Filter(), lambda: True)
    seqs = order.read_order(Filter(sort="id"), lambda: False)
    assert [job.id for job in order.jobs_at(seqs)] == ["a", "b", "c"]
    assert [job.id for job in order.jobs_at([seqs[2], 99, seqs[0]])] == ["c", "a"]
    assert harness.store.reader.count(Filter()) == 3


def test_output_in_enqueue_order(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job of the filter comes once, by its latest attempt, or with all of them; in chunks or not."""
    harness.add(*"edcba")
    harness.run("e", Exited(1), stdout="first", stdout_size=5)
    harness.now += 3600
    harness.run("e", stdout="second", stdout_size=6, stderr="warning", stderr_size=7)
    for name in "dcb":
        harness.run(name, stdout=name, stdout_size=1, stdout_tail="cut" if name == "c" else None)
    harness.claim_job("a")
    latest = [
        StoredOutput("e", 2, {"stdout": "second", "stderr": "warning"}),
        StoredOutput("d", 1, {"stdout": "d", "stderr": ""}),
        StoredOutput("c", 1, {"stdout": None, "stderr": ""}),
        StoredOutput("b", 1, {"stdout": "b", "stderr": ""}),
        StoredOutput("a", 1, {"stdout": None, "stderr": None}),
    ]
    for _ in range(2):
        assert list(iter_outputs(harness.store.db, Filter(), all_attempts=False)) == latest
        monkeypatch.setattr(job_lists, "OUTPUT_CHUNK_JOBS", 2)
    first = StoredOutput("e", 1, {"stdout": "first", "stderr": ""})
    assert list(iter_outputs(harness.store.db, Filter(), all_attempts=True)) == [first, *latest]
    assert list(iter_outputs(harness.store.db, Filter(ids=("d", "a")), all_attempts=False)) == latest[1::3]


def test_interrupt_of_a_query(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite hides what is raised in code that it calls; Ctrl+C is raised as such."""
    monkeypatch.setattr(job_lists, "PROGRESS_INSTRUCTIONS", 1)
    harness.add("a")
    presses = iter([True])

    def should_stop() -> bool:
        if next(presses, False):
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        JobOrder(harness.store.db).read_order(Filter(), should_stop)
    assert len(JobOrder(harness.store.db).read_order(Filter(), should_stop)) == 1
