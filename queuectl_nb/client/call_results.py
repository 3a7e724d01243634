"""Parameters and values of function calls as a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.child.payload import Arguments
from queuectl_nb.client.value import read_results
from queuectl_nb.model.call import Kind
from queuectl_nb.store.calls import load_call, read_calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

    from queuectl_nb.client.job import Job
    from queuectl_nb.store.store import Store

__all__ = ["call_results"]


class _ShownArguments(Arguments):
    """Loads arguments with the ids of jobs in the place of their values."""

    def value_of(self, ids: Sequence[str], *, single: bool) -> Any:
        return ids[0] if single else list(ids)


def call_results(store: Store, jobs: Iterable[Job]) -> pd.DataFrame | None:
    """Return a row for each call: its parameters, the job's state, run time and memory, and the value.

    None if a job is of another kind. Loads the pickles of arguments and values.
    """
    import pandas as pd

    from queuectl_nb.render.frames import frames

    parameters: list[dict[str, Any]] = []
    ids: list[str] = []
    values: list[Any] = []
    for job in jobs:
        if job.record.kind != Kind.FUNCTION:
            return None
        try:
            rows = list(_parameters(store, job))
        except LookupError:  # a job among the arguments was deleted
            rows = [{}] * read_calls(store.db, job.id).number
        parameters += rows
        ids += [job.id] * len(rows)
        found = read_results([job], store, return_exceptions=True) if job.done() else [None] * len(rows)
        values += [None if isinstance(value, BaseException) else value for value in found]
    return frames.results(store.reader, pd.DataFrame(parameters), ids, values)


def _parameters(store: Store, job: Job) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each call by the names of the parameters; None for one that cannot be loaded."""
    payload = load_call(store.db, job.record)
    arguments, names = _ShownArguments(payload), payload["parameters"]
    for positional, keywords in payload["calls"]:
        items = {names[n] if n < len(names) else f"argument {n + 1}": item for n, item in enumerate(positional)}
        row = {}
        for name, item in {**items, **keywords}.items():
            try:
                row[name] = arguments.load(item)
            except (Exception, SystemExit):  # noqa: BLE001 - of the user's class
                row[name] = None
        yield row
