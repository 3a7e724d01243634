"""``worker scale``: more and fewer workers in a running pool."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client import scale
from queuectl_nb.client.scale import Pool, find_pool, scale_pool
from queuectl_nb.engine import heartbeat, pool_size
from queuectl_nb.engine.config import WorkerConfig
from queuectl_nb.engine.dask.cluster import Cluster
from queuectl_nb.engine.pool_size import PoolSize
from queuectl_nb.engine.worker_process import WorkerProcess
from queuectl_nb.model.errors import BadEnvironment, BadInput, NotFound, WrongState
from tests.engine.harness import WorkerHarness, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuectl_nb.client import Queue


def test_up_and_down(harness: WorkerHarness, tmp_path: Path) -> None:
    """New workers run jobs; of those that are too many, idle ones stop, and a running job completes."""
    pool = harness.start(1)
    held = harness.add(f"until [ -e {tmp_path}/release ]; do sleep 0.02; done")
    until(lambda: held.state == "processing")
    assert pool.scale(3) == ["worker-1", "worker-2", "worker-3"]
    assert harness.add("true").wait(60).state == "completed"
    assert harness.queue.scale_workers(1) == ["worker-1"]
    until(lambda: [row.name for row in harness.queue.store.workers.list_all()] == ["worker-1"])
    assert held.state == "processing"
    (tmp_path / "release").touch()
    assert held.wait(60).state == "completed"
    assert held.attempts == 1


def test_surplus_worker_finishes_its_job(harness: WorkerHarness, tmp_path: Path) -> None:
    """If all workers are busy, the last one stops after its job; the pool stays."""
    pool = harness.start(2)
    jobs = [harness.add(f"until [ -e {tmp_path}/release ]; do sleep 0.02; done") for _ in range(2)]
    until(lambda: all(job.state == "processing" for job in jobs))
    assert pool.scale(1) == ["worker-1"]
    assert {worker["state"] for worker in pool.workers} == {"busy", "stopping"}
    (tmp_path / "release").touch()
    assert [job.wait(60).state for job in jobs] == ["completed", "completed"]
    until(lambda: [row.name for row in harness.queue.store.workers.list_all()] == ["worker-1"])
    assert pool.alive


def test_death_of_an_added_worker_and_of_the_supervisor(harness: WorkerHarness) -> None:
    """An added worker that dies is replaced; after the death of the supervisor no pool is left to scale."""
    pool = harness.start(1)
    pool.scale(2)
    killed = harness.worker_pid("worker-2")
    os.kill(killed, signal.SIGKILL)
    until(lambda: harness.worker_pid("worker-2") != killed)
    os.kill(pool.pid, signal.SIGKILL)
    until(lambda: not pool.alive)
    with pytest.raises(WrongState, match="the pool has ended"):
        pool.scale(3)
    job = harness.add("true")
    harness.start(1)
    assert job.wait(60).state == "completed"


@pytest.fixture
def registered(queue: Queue) -> Iterator[tuple[PoolSize, list[WorkerProcess]]]:
    """Yield two registered workers of this process, which run nothing."""
    config = WorkerConfig(db=queue.path)
    workers = WorkerProcess.register(queue.store, config, 2)
    yield PoolSize(queue.store, config), workers
    for worker in workers:
        os.close(worker.lock)


def test_request_is_done_once(queue: Queue, registered: tuple[PoolSize, list[WorkerProcess]]) -> None:
    """A request is there until it was carried out; a newer one replaces it."""
    size, workers = registered
    host, pid = heartbeat.host_name(), os.getpid()
    assert size.requested() is None
    queue.store.workers.request_size(host, pid, 3)
    queue.store.workers.request_size(host, pid, 4)
    queue.store.workers.clear_size(host, pid, 3)
    assert size.requested() == 4
    workers += size.change(4, workers, 1.0)
    assert [worker.name for worker in workers[2:]] == ["worker-3", "worker-4"]
    assert size.requested() is None
    for name in ("worker-1", "worker-2", "worker-3"):
        queue.store.workers.remove(name)
    assert queue.store.workers.read_pool(host, pid) == ("local", None)
    queue.store.workers.remove("worker-4")
    assert queue.store.workers.read_pool(host, pid) is None


def test_limit_of_open_files(
    queue: Queue, registered: tuple[PoolSize, list[WorkerProcess]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many workers are added as fit, and the caller learns how many these are."""
    size, workers = registered
    monkeypatch.setattr(pool_size, "count_fitting", lambda _: 3)
    monkeypatch.setattr(scale, "_POLL_INTERVAL_S", 0.0)
    with pytest.raises(BadEnvironment, match="only 3 of 5 workers fit; raise 'ulimit -n'"):
        scale_pool(queue.store, find_pool(queue.store, None), 5, lambda: workers.extend(size.change(5, workers, 1.0)))
    assert [worker.name for worker in workers] == ["worker-1", "worker-2", "worker-3"]


def test_supervisor_that_does_not_respond(
    queue: Queue, registered: tuple[PoolSize, list[WorkerProcess]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is taken back, so that the pool does not change later."""
    monkeypatch.setattr(scale, "_TIMEOUT_S", 0.0)
    with pytest.raises(BadEnvironment, match=r"the supervisor \(pid .*\) did not respond"):
        queue.scale_workers(3)
    assert registered[0].requested() is None


def test_choice_of_the_pool(queue: Queue, registered: tuple[PoolSize, list[WorkerProcess]]) -> None:
    """Of several pools, one is chosen by a worker; dask pools and invalid sizes are refused, each in one line."""
    for size in (-1, 257, "x", 1.5):
        with pytest.raises(BadInput, match="must be"):
            queue.scale_workers(size)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"stop all with stop_workers\(\)") as caught:
        queue.scale_workers(0)
    assert caught.value.console.endswith("stop all with 'queuectl worker stop'")
    with pytest.raises(NotFound, match=r"no worker 'worker-9' that could be scaled on .*; running: worker-1, worker-2"):
        queue.scale_workers(2, "worker-9")
    dask = WorkerConfig(db=queue.path, dask=Cluster(None, None, {}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heartbeat, "host_name", lambda: "elsewhere")
        (dispatcher,) = WorkerProcess.register(queue.store, dask)
    with pytest.raises(BadInput, match=r"2 pools are running, with worker-1 .* or worker-3 .*; give one of"):
        queue.scale_workers(2)
    with pytest.raises(WrongState, match="worker-3 is a dispatcher"):
        queue.scale_workers(2, "worker-3")
    queue.store.workers.request_stop(["worker-1", "worker-2", "worker-3"], "drain")
    with pytest.raises(NotFound, match="no workers are running"):
        queue.scale_workers(2)
    with pytest.raises(WrongState, match="has ended"):
        scale_pool(queue.store, Pool("gone", 1, ("worker-7",)), 2)
    os.close(dispatcher.lock)
