"""The rivals of ``functions.py``, as context managers that yield what applies the identity to values.

They raise :class:`measure.Skipped` if they are not installed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    Map = Callable[[Sequence[Any]], list[Any]]
    """Applies the identity to values and returns the results in order."""

__all__ = ["consume_huey", "dask", "huey", "identity", "ipyparallel", "loky"]


def identity(value: Any) -> Any:
    """Return the argument."""
    return value


@contextmanager
def dask(workers: int) -> Iterator[Map]:
    """Yield the map of a local dask cluster of processes."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise measure.Skipped(str(error)) from error
    options = {"dashboard_address": None, "worker_dashboard_address": None}
    with LocalCluster(n_workers=workers, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        yield lambda values: client.gather(client.map(identity, values, pure=False))


@contextmanager
def ipyparallel(workers: int) -> Iterator[Map]:
    """Yield the map of a cluster of ipyparallel with load balancing."""
    try:
        from ipyparallel import Cluster
    except ImportError as error:
        raise measure.Skipped(str(error)) from error
    with Cluster(n=workers, log_level=40) as client:
        client[:].execute(f"import sys; sys.path.append({str(Path(__file__).parent)!r})", block=True)
        view = client.load_balanced_view()
        yield lambda values: view.map_sync(identity, values)


@contextmanager
def loky(workers: int) -> Iterator[Executor]:
    """Yield an executor of loky."""
    try:
        from loky import get_reusable_executor
    except ImportError as error:
        raise measure.Skipped(str(error)) from error
    executor = get_reusable_executor(max_workers=workers)
    try:
        yield executor
    finally:
        executor.shutdown()


@contextmanager
def huey(workers: int) -> Iterator[Map]:
    """Yield the map of a SqliteHuey that does not sync, with a consumer of worker processes."""
    with measure.scratch() as folder:
        file = Path(folder) / "huey.db"
        try:
            task, storage = _huey_task(file)
        except ImportError as error:
            raise measure.Skipped(str(error)) from error

        def apply(values: Sequence[Any]) -> list[Any]:
            found = [task(value) for value in values]
            while storage.result_store_size() < len(values):
                time.sleep(0.004)
            return [each.get() for each in found]

        code = f"import function_rivals; function_rivals.consume_huey({str(file)!r}, {workers})"
        consumer = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, stderr=subprocess.DEVNULL)
        try:
            yield apply
        finally:
            consumer.terminate()
            consumer.wait()


def _huey_task(file: Path) -> tuple[Any, Any]:
    """Return the identity as a task of the huey at ``file``, and its storage."""
    from huey import SqliteHuey

    found = SqliteHuey(filename=str(file), fsync=False)  # faster than by default, and less durable
    return found.task(name="identity")(identity), found.storage


def consume_huey(file: str, workers: int) -> None:
    """Run the tasks of :func:`huey` until the process is terminated."""
    _huey_task(Path(file))[0].huey.create_consumer(workers=workers, worker_type="process", periodic=False).run()
