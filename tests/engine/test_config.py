"""The configuration survives the way through a command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl_nb.engine.config import WorkerConfig
from queuectl_nb.engine.dask.cluster import Cluster


@pytest.mark.parametrize("dask", [None, Cluster("tcp://here:1", None, {"GPU": 1.0})])
def test_json_round_trip(dask: Cluster | None) -> None:
    """``from_json`` restores what ``to_json`` has written."""
    config = WorkerConfig(db=Path("/tmp/queue.db"), count=3, queues=("a", "b"), drain=True, dask=dask)
    assert WorkerConfig.from_json(config.to_json()) == config


def test_tls_settings_are_not_in_the_json() -> None:
    """TLS settings must not be on a command line."""
    config = WorkerConfig(db=Path("queue.db"), dask=Cluster("tls://here:1", "secret"))
    assert "secret" not in config.to_json()


def test_worker_configuration() -> None:
    """A worker gets its name and lock, and this process as its parent; with dask there is one process."""
    config = WorkerConfig(db=Path("queue.db"), count=9, parent=1, dask=Cluster())
    worker = config.for_worker("worker-1", 7, replaces="worker-1")
    assert (worker.name, worker.lock, worker.replaces, worker.parent) == ("worker-1", 7, "worker-1", os.getpid())
    assert (worker.count, worker.processes) == (9, 1)
