"""What an enqueue reads of a queue to say why a job does not start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.store.limits import set_limit

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


def test_waiting_jobs_pauses_and_limits(harness: StoreHarness) -> None:
    """Queues with unfinished jobs have the number of those that wait; pauses and limits are those of all queues."""
    assert harness.store.read_waiting() == ({}, set(), [])
    harness.add("a", "b", "c", queue="gpu")
    harness.add("done")
    harness.claim_job("a")
    harness.run("b")
    harness.add("blocked", queue="cpu", after=["c"])
    harness.store.jobs.pause("gpu", harness.now)
    harness.store.jobs.pause(None, harness.now)
    set_limit(harness.store.db, "gpu", 3)
    assert harness.store.read_waiting() == ({"gpu": 1, "default": 1}, {"gpu", "*"}, [("gpu", 3, 1)])


def test_an_open_queue(harness: StoreHarness) -> None:
    """Everything that is stored is that of one file, with the output of its jobs beside it."""
    store = harness.store
    assert (store.path, store.spool.folder, store.worker_dir) == (
        store.db.path,
        store.db.output_dir,
        store.db.worker_dir,
    )
    assert {each.db for each in (store.jobs, store.workers, store.reader)} == {store.db}
    assert store.run_inline is None
