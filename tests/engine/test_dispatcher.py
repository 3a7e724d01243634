"""A dispatcher with a simulated executor: what it claims, settles and releases with many jobs in flight."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.engine.dask.dispatch_table import DispatchTable, read_dispatched
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.state import State
from tests.engine.harness import until
from tests.engine.simulated import SimulatedDispatcher

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.client import Queue


def test_drains_a_queue_within_the_in_flight_limit(queue: Queue) -> None:
    """All jobs finish, the limit of jobs in flight holds, and each starts once."""
    ids = enqueue_specs(queue, [JobSpec(f"exit {n % 3}", max_retries=1) for n in range(600)]).ids
    dispatcher = SimulatedDispatcher(queue.path, max_in_flight=50, mean=0.005, drain=True)
    dispatcher.join()
    assert dispatcher.executor.peak <= 50
    assert queue.store.reader.counts()[State.COMPLETED] == 200
    assert queue.store.reader.counts()[State.DEAD] == 400
    assert all(len(queue.job(each).history) == 1 for each in ids[::50])
    assert queue.job(ids[0]).history[0].host == "here"


def test_waiting_jobs_stay_pending(queue: Queue) -> None:
    """Only running jobs are ``processing``; the others keep their place for the first worker that is free."""
    enqueue_specs(queue, [JobSpec("sleep 60") for _ in range(20)])
    dispatcher = SimulatedDispatcher(queue.path, max_in_flight=5)
    until(lambda: dispatcher.executor.in_flight == 5)
    assert queue.store.reader.counts()[State.PROCESSING] == 5
    assert queue.store.reader.counts()[State.PENDING] == 15
    dispatcher.stop()
    assert queue.store.reader.counts()[State.PENDING] == 20


def test_later_jobs_of_higher_priority_start_first(queue: Queue) -> None:
    """A free slot takes the job that comes first at that moment."""
    enqueue_specs(queue, [JobSpec("sleep 0.2", id="first"), JobSpec("sleep 0.01", id="old")])
    dispatcher = SimulatedDispatcher(queue.path, max_in_flight=1)
    until(lambda: dispatcher.executor.in_flight == 1)
    queue.enqueue("sleep 0.01", id="urgent", priority=5)
    queue.wait("old", "urgent", timeout=20)
    dispatcher.stop()
    urgent, old = (queue.job(each).history[0] for each in ("urgent", "old"))
    assert urgent.started_at <= old.started_at


def test_a_paused_queue_starts_nothing_and_drain_awaits_retries(queue: Queue) -> None:
    """A pause prevents the next start; a draining dispatcher waits for delayed retries."""
    queue.pause()
    enqueue_specs(queue, [JobSpec("exit 1", id="twice", max_retries=2)])
    queue.set("backoff_base", 1)
    dispatcher = SimulatedDispatcher(queue.path, max_in_flight=5, drain=True)
    until(lambda: not dispatcher.dispatcher.may_have_work)  # it has checked for work
    assert queue.job("twice").history == []
    dispatcher.stop()
    queue.resume()
    dispatcher = SimulatedDispatcher(queue.path, max_in_flight=5, drain=True)
    dispatcher.join()
    assert (queue.job("twice").state, len(queue.job("twice").history)) == (State.DEAD, 2)


def test_cancel_and_drain(queue: Queue) -> None:
    """One of several jobs in flight is cancelled; a drain waits for the others and starts no more."""
    ids = enqueue_specs(queue, [JobSpec("sleep 0.5") for _ in range(4)] + [JobSpec("sleep 60"), JobSpec("true")]).ids
    dispatcher = SimulatedDispatcher(queue.path, max_in_flight=5)
    until(lambda: dispatcher.executor.in_flight == 5)
    queue.cancel(ids[4])
    assert queue.job(ids[4]).history[0].outcome == "cancelled"
    dispatcher.stop("drain")
    states = [queue.job(each).state for each in ids]
    assert states[:5] == [State.COMPLETED] * 4 + [State.CANCELLED]


def test_long_jobs_show_where_they_run(queue: Queue) -> None:
    """The history shows pid and host of a long job while it runs."""
    (job_id,) = enqueue_specs(queue, [JobSpec("sleep 60")]).ids
    dispatcher = SimulatedDispatcher(queue.path)
    until(lambda: queue.job(job_id).history and queue.job(job_id).history[0].pid)
    attempt = queue.job(job_id).history[0]
    assert (attempt.pid, attempt.host) == (os.getpid(), "simulated")
    dispatcher.stop()
    assert queue.job(job_id).history[0].outcome == "returned"


def test_the_dispatch_table_stays_short(tmp_path: Path) -> None:
    """The table has the tokens in flight, and no more places than were ever needed at a time."""
    table = DispatchTable(tmp_path, "worker-1")
    tokens = [f"{n:032x}" for n in range(1000)]
    for number, token in enumerate(tokens):
        table.add(token)
        if number >= 20:
            table.remove(tokens[number - 20])
    kept = read_dispatched(tmp_path, "worker-1")
    assert set(tokens[-20:]) <= kept
    assert len(kept) < 30
    assert read_dispatched(tmp_path, "worker-2") == frozenset()
