"""The file of a queue, and its content as DataFrames."""

from __future__ import annotations

import os
from functools import cached_property, partial
from typing import TYPE_CHECKING, Self, Unpack

from queuectl_nb.client import arguments
from queuectl_nb.client.batch import Batch
from queuectl_nb.client.selection import find_filter, known_ids, make_filter
from queuectl_nb.client.wait import UnreportedJobs
from queuectl_nb.model.errors import BadInput, QueuectlError
from queuectl_nb.model.validation import parse_int
from queuectl_nb.store.paths import find_queue, require_queue
from queuectl_nb.store.queue_files import make_private_dir
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    import sqlite_utils

    from queuectl_nb.client.arguments import Jobs
    from queuectl_nb.client.eta import Eta
    from queuectl_nb.client.frame_index import FrameIndex
    from queuectl_nb.client.plot import Plot
    from queuectl_nb.client.selection import Selection
    from queuectl_nb.client.sql import UserDatabase
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.testing import InlineQueue

__all__ = ["QueueData"]


class QueueData:
    """A queue as it is opened and read; the base of :class:`~queuectl_nb.client.queue.Queue`."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        allow_network_fs: bool = False,
        interpreter_first: bool = True,
        create: bool = True,
    ) -> None:
        self.path: Path = find_queue(path)
        if not create:
            require_queue(self.path, os.fspath(path or self.path))
        if path is None and not os.environ.get("QUEUECTL_DB") and not self.path.parent.is_dir():
            make_private_dir(self.path.parent, parents=True)
        self.allow_network_fs = allow_network_fs
        self.interpreter_first = interpreter_first
        self.store: Store = Store(self.path, allow_network_fs=allow_network_fs)

    @staticmethod
    def inline() -> InlineQueue:
        """Return an empty queue for tests: what is enqueued runs at once, functions in this process.

        See :class:`queuectl_nb.testing.InlineQueue`.
        """
        from queuectl_nb.testing import InlineQueue

        return InlineQueue.create()

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[str]]:
        """Pickle the path and the options; unpickling opens the file."""
        reopen = partial(
            type(self), allow_network_fs=self.allow_network_fs, interpreter_first=self.interpreter_first, create=False
        )
        return reopen, (str(self.path),)

    def __repr__(self) -> str:
        try:
            counts = ", ".join(f"{n} {state}" for state, n in self.store.reader.counts().items() if n) or "empty"
        except QueuectlError as error:
            return f"<Queue {self.path}: {error}>"
        return f"<Queue {self.path}: {counts}>"

    def close(self) -> None:
        """Close the connections of this thread; they are opened again when needed."""
        if "_user_database" in vars(self):
            self._user_database.close()
        self.store.db.close()

    @property
    def db(self) -> sqlite_utils.Database:
        """The queue as a ``sqlite_utils.Database``, for queries of your own.

        Each thread, and each process after a fork, gets its own connection. :meth:`close` and a fork close it: fetch
        all rows before, as in ``list(q.db.query(...))``.
        """
        return self._user_database.database()

    @cached_property
    def _user_database(self) -> UserDatabase:
        from queuectl_nb.client.sql import UserDatabase

        return UserDatabase(self.store)

    def jobs(
        self,
        *,
        sort: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        ids: Jobs | None = None,
        **selection: Unpack[Selection],
    ) -> pd.DataFrame:
        """Return jobs as a DataFrame indexed by ``id``, most recently updated first.

        ``selection`` is any of ``state`` (one or several), ``queue``, ``tag``, ``error`` and ``search``: only jobs that
        match all of them. ``sort`` names a field to sort by, ascending unless ``reverse``. With ``ids``
        these jobs are returned in this order, and the other arguments are ignored; raises ``NotFound`` for an unknown
        one.

        The columns are the JSON fields in their order, then ``waited`` and ``ran`` (timedeltas); times are UTC
        datetimes, ``state`` is a categorical, numbers are nullable integers.
        """
        from queuectl_nb.render.frames import frames
        from queuectl_nb.store.job_filter import Filter

        if ids is not None:
            names = arguments.parse_ids([ids])
            found = frames.jobs(self.store.reader, Filter(ids=tuple(names)))
            for missing in set(names).difference(found.index):
                self.store.jobs.get(missing)  # raise NotFound
            return found.loc[names]
        return frames.jobs(self.store.reader, make_filter(selection, sort=sort, reverse=reverse, limit=limit))

    def attempts(self) -> pd.DataFrame:
        """Return all attempts as a DataFrame indexed by (``job_id``, ``number``)."""
        from queuectl_nb.render.frames import frames

        return frames.attempts(self.store.reader)

    def status(self) -> pd.DataFrame:
        """Return the number of jobs by state: index ``state``, column ``count``."""
        from queuectl_nb.render.frames import frames

        return frames.status(self.store.reader.counts())

    def eta(self, *jobs: Jobs, **selection: Unpack[Selection]) -> Eta:
        """Return the estimated time until given or selected jobs, or all, have finished.

        ``low``, ``mid`` and ``high`` are seconds; ``print(q.eta(tag="sweep"))`` shows
        ``About 14 min left (11 to 19 min)``. They are None if nothing is left, or if the time is unknown for a
        ``reason``. The estimate is made of recent attempts of the same template, function or notebook.
        """
        from queuectl_nb.client.eta import read_eta

        return read_eta(self.store, find_filter(self.store, jobs, selection) if jobs or selection else None)

    def stats(self, *, by: str | None = None, since: object = None, limit: int | None = None) -> pd.DataFrame:
        """Return metrics as a DataFrame with one row, or one row per group; names are flattened (``run_s_p50``).

        Parameters
        ----------
        by
            ``"command"``, ``"queue"`` or ``"tag"``: group by this field.
        limit
            Return only the groups with the longest total run time; default: all, by name.
        since
            Ignore what finished earlier: epoch seconds, ISO 8601 text, a datetime, a timedelta, or an age (``"7d"``).
        """
        from queuectl_nb.render.frames import frames
        from queuectl_nb.store.stats import largest_groups, stats, total_stats

        db, start = self.store.db, None if since is None else arguments.parse_since("since", since)
        if by is None:
            return frames.stats([("", total_stats(db, since=start))], by)
        if limit is None:
            return frames.stats(stats(db, by=by, since=start), by)
        return frames.stats(largest_groups(db, by, parse_int("limit", limit, 1), since=start)[0], by)

    def grep(
        self,
        pattern: str,
        *jobs: Jobs,
        ignore_case: bool = False,
        all_attempts: bool = False,
        **selection: Unpack[Selection],
    ) -> pd.DataFrame:
        """Return the lines of output that match a regular expression, of the latest attempts or of all.

        Given or selected jobs are searched, or all, also running ones. Columns: ``job_id``, ``attempt``, ``stream``,
        ``line`` (from 1) and ``text``, without escape sequences. Raises ``BadInput`` for an invalid pattern.
        """
        from queuectl_nb.client.grep import Search
        from queuectl_nb.render.frames import frames

        found = Search(self.store, pattern, ignore_case=ignore_case).run(
            find_filter(self.store, jobs, selection), all_attempts=all_attempts
        )
        return frames.found_lines((line._asdict() for line in found), ("job_id", "attempt", "stream", "line", "text"))

    def errors(self, *jobs: Jobs, **selection: Unpack[Selection]) -> pd.DataFrame:
        """Return why jobs failed: failed and dead jobs, grouped by the reason of their latest attempt.

        Given or selected jobs are grouped, or all. The index is ``key``, which ``retry(error=key)`` and other
        selections take; the columns are ``count``, ``reason``, ``message``, ``first_at``, ``last_at`` and ``example``,
        the id of the job that failed last.
        """
        from queuectl_nb.render.frames import frames
        from queuectl_nb.store.error_groups import read_error_groups

        return frames.error_groups(read_error_groups(self.store.db, find_filter(self.store, jobs, selection)))

    def workers(self) -> pd.DataFrame:
        """Return the workers as a DataFrame indexed by ``name``."""
        from queuectl_nb.client.workers import list_workers
        from queuectl_nb.render.frames import frames

        return frames.workers(list_workers(self.store))

    def results(self, frame: pd.DataFrame | Batch | None = None, jobs: Jobs | None = None) -> pd.DataFrame:
        """Return parameters, state, run time, memory and results of jobs in one DataFrame.

        Parameters
        ----------
        frame
            The frame that was passed to :meth:`enqueue_many`, or any rows of it in any order; default: all jobs. Or
            a batch: of functions and notebooks, a row is a call, and parameters and values are columns.
        jobs
            The jobs (or ids) of the rows, in order. Default: those named by a column ``job_id``, else those of the
            most recent :meth:`enqueue_many` in this process that made the same commands from these rows.

        Returns
        -------
        DataFrame
            The columns and index of ``frame``; then ``job_id``, ``state``, and ``ran`` (timedelta) and
            ``max_rss_bytes`` of the latest attempt; then the results: a column per key if they are JSON objects, else
            ``result``. Names that are taken get the suffix ``_job`` or ``_result``. Deleted jobs have no state.
            Without a frame: indexed by ``id``, with the column ``command`` instead of parameters.

        Raises
        ------
        BadInput
            The jobs of these rows are not known. To keep them with the frame, store their ids:
            ``frame["job_id"] = q.enqueue_many(template, frame).ids``.
        """
        from queuectl_nb.render.frames import frames

        if isinstance(frame, Batch):
            from queuectl_nb.client.value import call_results

            found = call_results(self.store, frame)
            return frames.results(self.store.reader, None, frame.ids) if found is None else found
        ids = None if jobs is None else arguments.parse_ids([jobs])
        if frame is not None:
            frames.check_frame(frame)
        if ids is None and frame is not None:
            ids = frames.job_id_column(frame) or self._frame_index.find(frame)
            if ids is None:
                raise BadInput("the jobs of this frame are not known; pass jobs=, or add their ids as a column job_id")
        return frames.results(self.store.reader, frame, ids)

    def metrics(self, *jobs: Jobs, **selection: Unpack[Selection]) -> pd.DataFrame:
        """Return the numbers that given or selected jobs, or all, have reported so far, as a long DataFrame.

        A row is a point: ``job_id``, ``attempt``, ``time``, ``step``, ``name``, ``value``. Of an attempt up to 100,000
        points are kept, spread evenly over its run. ``attrs["invalid_lines"]`` counts lines that were not JSON objects.
        """
        from queuectl_nb.render.frames import frames
        from queuectl_nb.store.metrics import attempt_metrics

        return frames.metrics(attempt_metrics(self.store.db, known_ids(self.store, jobs, selection)))

    @cached_property
    def plot(self) -> Plot:
        """Plots: ``timeline()``, ``durations()``, ``throughput()``, ``overview()``, and ``metrics(name)`` of jobs."""
        from queuectl_nb.client.plot import Plot

        return Plot(self.store)

    @property
    def settings(self) -> Settings:
        """The current settings."""
        return self.store.settings.read()

    @property
    def _unreported(self) -> UnreportedJobs:
        return UnreportedJobs.for_queue(self)

    @cached_property
    def _frame_index(self) -> FrameIndex:
        from queuectl_nb.client.frame_index import FrameIndex

        return FrameIndex.for_path(self.path)
