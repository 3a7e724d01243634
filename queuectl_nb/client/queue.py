"""The Python API of a queue; the console, the notebook and the web page are built on it."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

from queuectl_nb.client import arguments
from queuectl_nb.client.arguments import to_python
from queuectl_nb.client.batch import Batch
from queuectl_nb.client.enqueue import enqueue_specs, locate_errors, make_spec, make_specs
from queuectl_nb.client.job import Job
from queuectl_nb.client.queue_control import QueueControl
from queuectl_nb.client.selection import Selection, find_filter
from queuectl_nb.client.wait import Wait

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import ModuleType

    import pandas as pd

    from queuectl_nb.client.executor import QueueExecutor
    from queuectl_nb.client.task import Task

__all__ = ["Queue"]

P = ParamSpec("P")
R = TypeVar("R")


class Queue(QueueControl):
    """A queue in one SQLite file.

    Parameters
    ----------
    path
        The file. Default: ``$QUEUECTL_DB``, else the nearest
        ``.queuectl/queue.db`` in this directory or above, else the one in the user's data directory.
    allow_network_fs
        Accept a file on a network file system. Use it from one host only.
    create
        Create the file, with mode 0600, if it does not exist.
    interpreter_first
        Put the directory of this interpreter first in the ``PATH`` of jobs. The console leaves ``PATH`` unchanged.

    Raises
    ------
    BadEnvironment
        The path cannot be used as a queue. The message says what to do; the file was not changed.
    """

    def enqueue(
        self,
        command: str,
        *,
        id: str | None = None,
        priority: int = 0,
        delay: float | str = 0,
        run_at: object = None,
        timeout: float | str | None = None,
        max_retries: int | None = None,
        queue: str | None = None,
        tags: Sequence[str] | None = None,
        after: Sequence[str | Job] | str | Job | None = None,
        after_any: Sequence[str | Job] | str | Job | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        shell: str | None = None,
        key: str | None = None,
        if_absent: bool = False,
        resume: bool = False,
    ) -> Job:
        """Add a job and return it. The job is durable once this method returns.

        Parameters
        ----------
        command
            Run by the shell; 1 to 100,000 bytes.
        delay, run_at
            The job does not start before this many seconds (or ``"1h30m"``) have passed, or before this time: a
            datetime, ISO 8601 text, or a time of day (``"03:00"``: the next one, in local time).
        timeout, max_retries
            Maximum run time of an attempt in seconds or as ``"10m"`` (0: no limit), and total number of attempts.
            None: use the settings that are current when the job runs.
        shell
            A POSIX shell with its options, such as ``"bash -l"``. None: the setting, by default ``/bin/sh``.
        after
            Jobs or ids that must complete first. If one ends dead or cancelled, this job is cancelled.
        after_any
            Jobs or ids that must finish first, however they end.
        if_absent
            If a job with this id and the same command exists, return it instead of raising an error.
        key, resume
            Name the work; ``resume`` makes a key of command, directory and ``env``. If a job has the key, it is
            returned instead: as it is if it completed, runs or waits, and otherwise with a fresh retry budget.

        Raises
        ------
        BadInput
            A value is invalid, or the id is in use; nothing was changed.
        NotFound
            ``after`` or ``after_any`` names an unknown job.
        """
        fields: dict[str, Any] = {
            "id": id,
            "command": command,
            "priority": priority,
            "delay": delay if delay or run_at is None else None,
            "run_at": run_at,
            "timeout": timeout,
            "max_retries": max_retries,
            "queue": queue,
            "tags": tags,
            "after": after,
            "after_any": after_any,
            "cwd": cwd,
            "env": env,
            "shell": shell,
            "key": key,
        }
        spec = make_spec({key: to_python(value) for key, value in fields.items() if value is not None})
        return Job(self, enqueue_specs(self, [spec], if_absent=if_absent, resume=resume).ids[0])

    def enqueue_many(
        self,
        rows: str | Iterable[Mapping[str, Any]] | pd.DataFrame,
        frame: pd.DataFrame | Iterable[Mapping[str, Any]] | None = None,
        *,
        if_absent: bool = False,
        resume: bool = False,
        **common: Any,
    ) -> Batch:
        """Add many jobs in one transaction, all or none, and return them in order.

        Parameters
        ----------
        rows
            Dicts with the fields of a job, or a DataFrame with a ``command`` column. Or a template such as
            ``"python train.py --lr {lr}"``, filled once for each row of ``frame``: values are quoted for the shell,
            ``{lr:raw}`` inserts a value unquoted, ``{{`` is a literal brace.
        frame
            The rows for a template: a DataFrame or dicts.
        resume
            Add only what is missing: work that completed, runs or waits is kept, what failed or was cancelled runs
            again with a fresh retry budget. ``print(batch)`` says how many. See ``key`` of :meth:`enqueue`.
        common
            Fields for all jobs (``priority``, ``timeout``, ``queue``, ``tags`` …); the fields of a row take precedence.

        Returns
        -------
        Batch
            One job per row, as a sequence; ``ids`` holds their ids.

        Raises
        ------
        BadInput
            A row is invalid; the message names it, and nothing was enqueued.

        Notes
        -----
        Columns of a DataFrame that are job fields (``priority``, ``timeout``, ``id`` …) are used as such, unless the
        template names them as parameters; other columns are ignored. In dicts unknown keys are an error. Missing
        values (None, NaN, NaT; in dicts None, NaT and ``pd.NA``) count as not given.
        """
        from queuectl_nb.client.bulk_rows import is_frame, iter_fields

        single = isinstance(rows, list) and len(rows) == 1
        specs = make_specs(iter_fields(rows, frame, common), single=single)
        with nullcontext() if single else locate_errors(lambda index: f"row {index + 1}"):
            added = enqueue_specs(self, specs, if_absent=if_absent, resume=resume)
        if isinstance(rows, str) or is_frame(rows):
            template = rows if isinstance(rows, str) else None
            self._frame_index.add(template, [spec.command for spec in specs], added.ids)
        return Batch(self, *added)

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job:
        """Add a job that calls ``function(*args, **kwargs)`` in a process of its own, and return it.

        All keywords are the function's; options of the job go through :meth:`task`. See :meth:`Task.submit`.
        """
        from queuectl_nb.client.task import Task

        return Task(self, function, {}).submit(*args, **kwargs)

    def map(
        self, function: Callable[..., Any], /, *iterables: Iterable[Any], chunksize: int = 1, resume: bool = False
    ) -> Batch:
        """Add a job per call of ``function``, with the arguments taken from ``iterables`` like ``map``.

        A DataFrame alone means a call per row, with its columns as keywords. ``chunksize`` calls make one job. With
        ``resume`` only missing work is added, as in :meth:`enqueue_many`.
        """
        from queuectl_nb.client.task import Task

        return Task(self, function, {}).map(*iterables, chunksize=chunksize, resume=resume)

    @staticmethod
    def grid(**values: Iterable[Any]) -> pd.DataFrame:
        """Return all combinations of the values as a DataFrame: ``q.grid(lr=[0.1, 0.01], seed=range(3))``."""
        from queuectl_nb.render.frames import frames

        return frames.grid(values)

    @overload
    def task(self, function: Callable[P, R], /, **options: Any) -> Task[P, R]: ...

    @overload
    def task(self, /, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Return a :class:`Task`: the function with options for its jobs, such as ``timeout`` and ``tags``.

        Without a function, return a decorator: ``@q.task(timeout=3600)``.
        """
        from queuectl_nb.client.task import Task

        return partial(Task, self, options=options) if function is None else Task(self, function, options)

    def executor(self, *, workers: int = 0, **options: Any) -> QueueExecutor:
        """Return a ``concurrent.futures.Executor`` whose calls are jobs with these options.

        A future is done when its job has finished, retries included. The queue must be served by workers from
        elsewhere, unless ``workers`` of its own are asked for; they stop at ``shutdown``.
        """
        from queuectl_nb.client.executor import QueueExecutor

        self.task(print, **options)  # raise for an invalid option here
        return QueueExecutor(self, options, self.start_workers(workers) if workers else None)

    def as_completed(self, jobs: Iterable[Job], timeout: float | str | None = None) -> Iterator[Job]:
        """Yield jobs as they finish, however they end; raise ``WaitTimeout`` after ``timeout`` seconds."""
        found = {job.id: job for job in jobs}
        for job_id in Wait(self, list(found), arguments.parse_timeout(timeout)).iter_finished():
            yield found[job_id]

    def by_value(self, module: ModuleType) -> None:
        """Send functions and classes of ``module`` with each job, instead of having jobs import it.

        For a module that is being edited: a job then runs the code as it was at the enqueue.
        """
        import cloudpickle

        cloudpickle.register_pickle_by_value(module)

    def enqueue_notebook(
        self,
        path: str | os.PathLike[str],
        parameters: Mapping[str, Any] | None = None,
        *,
        kernel: str | None = None,
        allow_unknown: bool = False,
        resume: bool = False,
        **options: Any,
    ) -> Job:
        """Add a job that runs a notebook with papermill in its directory, and return it.

        The file is read now. ``job.result()`` is the path of the executed notebook, an artifact of each attempt.
        ``parameters`` are for the names in the cell with the tag ``parameters``: None, bool, int, float, str, and lists
        and dicts of these. ``resume`` as in :meth:`enqueue`. Raises ``BadInput`` for a file that is not a notebook, and
        an unknown parameter or kernel.
        """
        from queuectl_nb.client.notebook import make_notebook_specs

        specs = make_notebook_specs(self, path, None, parameters, kernel=kernel, allow_unknown=allow_unknown, **options)
        return Job(self, enqueue_specs(self, specs, resume=resume).ids[0])

    def enqueue_notebooks(
        self,
        path: str | os.PathLike[str],
        rows: pd.DataFrame | Iterable[Mapping[str, Any]],
        parameters: Mapping[str, Any] | None = None,
        *,
        kernel: str | None = None,
        allow_unknown: bool = False,
        resume: bool = False,
        **options: Any,
    ) -> Batch:
        """Add a job per row, in one transaction, that runs a notebook with the row as parameters.

        ``parameters`` and ``options`` are for all rows. A column with the name of a field of the job, such as ``id``,
        is that field unless the notebook has a parameter of this name.
        """
        from queuectl_nb.client.notebook import make_notebook_specs

        specs = make_notebook_specs(self, path, rows, parameters, kernel=kernel, allow_unknown=allow_unknown, **options)
        with locate_errors(lambda index: f"row {index + 1}"):
            return Batch(self, *enqueue_specs(self, specs, resume=resume))

    def job(self, job_id: str) -> Job:
        """Return a job; raise ``NotFound`` if there is none with this id."""
        return Job(self, job_id).refresh()

    def batch(self, **selection: Unpack[Selection]) -> Batch:
        """Return the jobs of a selection in enqueue order, such as those of a sweep: ``q.batch(tag="sweep")``."""
        return Batch(self, self.store.reader.ids(find_filter(self.store, (), selection)))
