"""Configuration of a worker pool, passed from the starter to the supervisor and from there to each worker."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Self

from queuectl_nb.engine.dask.cluster import Cluster
from queuectl_nb.store.store import Store

__all__ = ["WorkerConfig"]


def _import_path() -> tuple[str, ...]:
    return tuple(entry for entry in sys.path if entry and os.path.isdir(entry))


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """Options of ``worker start``, and what the supervisor adds for each worker.

    Attributes
    ----------
    count
        Number of workers; with dask, concurrent jobs of one dispatcher.
    dask
        Cluster that runs the jobs; None runs them on this host. TLS settings are not part of the JSON: command lines
        are public.
    import_path
        ``sys.path`` of the starter, for interpreters that start without ``site``.
    parent
        Pid of the parent process.
    name, lock
        Name of the worker, and descriptor of its lock file.
    starter
        Descriptor (pidfd) of the process that started the pool, with which the worker ends; -1 for none.
    replaces
        Name of the worker that died and that this one replaces, which may be the same; empty for none.
    """

    db: Path
    count: int = 1
    queues: tuple[str, ...] = ()
    drain: bool = False
    detach: bool = False
    allow_network_fs: bool = False
    dask: Cluster | None = None
    import_path: tuple[str, ...] = field(default_factory=_import_path)
    parent: int = field(default_factory=os.getpid)
    name: str = ""
    lock: int = -1
    starter: int = -1
    replaces: str = ""

    @property
    def processes(self) -> int:
        """Number of worker processes."""
        return 1 if self.dask else self.count

    def for_worker(self, name: str, lock: int, *, replaces: str) -> Self:
        """Return the configuration of one worker, whose parent is this process."""
        return replace(self, name=name, lock=lock, replaces=replaces, parent=os.getpid())

    def open_store(self) -> Store:
        """Open the queue."""
        return Store(self.db, allow_network_fs=self.allow_network_fs)

    def to_json(self) -> str:
        """Return the configuration as JSON, for a command line."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["db"] = str(self.db)
        if self.dask is not None:
            values["dask"] = {"scheduler": self.dask.scheduler, "resources": dict(self.dask.resources)}
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the output of :meth:`to_json`."""
        values = json.loads(text)
        values["db"] = Path(values["db"])
        values["queues"] = tuple(values["queues"])
        values["import_path"] = tuple(values["import_path"])
        if values["dask"] is not None:
            values["dask"] = Cluster(**values["dask"])
        return cls(**values)
