"""A dask cluster of real processes on loopback, which tests can kill, stop and restart."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class DaskCluster:
    """A scheduler and workers, started as on a real cluster and killed by pid."""

    folder: Path
    port: int = field(default_factory=free_port)
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The address of the scheduler."""
        return f"tcp://127.0.0.1:{self.port}"

    def _dask(self, *words: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"dask-{len(self.workers)}.log"
        with log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *words, "--no-dashboard"],
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    # reconnect to a restarted scheduler soon
                    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
                },
                stdout=out,
                stderr=out,
                cwd=self.folder,
                start_new_session=True,
            )

    def start_scheduler(self) -> None:
        """Start the scheduler on the same port each time."""
        self.scheduler = self._dask("scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def start_worker(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a worker without a nanny; it has two threads unless ``words`` say otherwise."""
        worker = self._dask(
            "worker", self.address, "--no-nanny", "--nthreads", "2", "--local-directory", str(self.folder), *words
        )
        self.workers.append(worker)
        return worker

    def wait_for_workers(self, count: int) -> None:
        """Wait until the scheduler knows at least ``count`` workers; it forgets dead ones at once."""
        until(lambda: len(self.worker_threads()) >= count, timeout=120)

    def worker_threads(self) -> dict[str, int]:
        """Return the threads of each worker by address; empty if the scheduler does not answer."""
        from distributed import rpc

        async def ask() -> dict[str, int]:
            async with rpc(self.address) as scheduler:
                found: dict[str, int] = await asyncio.wait_for(scheduler.ncores(), 5)
                return found

        with contextlib.suppress(OSError, TimeoutError):
            return asyncio.run(ask())
        return {}

    def close(self) -> None:
        """Kill all processes and their descendants."""
        processes = [each for each in (*self.workers, self.scheduler) if each is not None]
        for each in processes:
            with contextlib.suppress(psutil.Error):
                below = psutil.Process(each.pid).children(recursive=True)
                each.kill()
                for child in below:
                    with contextlib.suppress(psutil.Error):
                        child.kill()
            each.wait(60)


def start_cluster(folder: Path, workers: int = 3, words: Sequence[str] = ()) -> DaskCluster:
    """Return a running cluster."""
    cluster = DaskCluster(folder)
    cluster.start_scheduler()
    for _ in range(workers):
        cluster.start_worker(*words)
    return cluster
