"""Results of a cell: its variables, and what it displayed."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.call import Kind
from queuectl_nb.model.errors import BadInput, JobFailed, NotFound
from queuectl_nb.model.state import State
from queuectl_nb.render.cell_outputs import CellFacts, remove_replaced
from queuectl_nb.store import calls

if TYPE_CHECKING:
    import pandas as pd

    from queuectl_nb.client.job import Job
    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.store import Store

__all__ = ["NoSuchVariable", "display_outputs", "list_variables", "read_cell_facts", "read_variable"]

MAX_PRINTED_LINES = 1000
"""Only the last lines of a longer log are shown."""


class NoSuchVariable(NotFound, KeyError):
    """A cell has assigned no such variable, or it could not be pickled."""

    __str__ = NotFound.__str__  # that of a KeyError is the repr of the message


def read_cell_facts(store: Store, record: JobRecord) -> CellFacts:
    """Return what a card shows of a cell."""
    displays = [] if record.state is State.PROCESSING else calls.read_displays(store.db, record.id)
    return CellFacts(calls.read_input_text(store.db, record.id), displays)


def read_variable(job: Job, store: Store, name: str) -> Any:
    """Return a variable that a cell has assigned; only this one is unpickled."""
    _check_finished(job)
    found = calls.read_variable(store.db, job.id, name)
    if found is None:
        names = [each.name for each in calls.read_variables(store.db, job.id)]
        raise NoSuchVariable(f"job {job.id} assigned no variable {name}; it assigned {', '.join(names) or 'none'}")
    if found.pickle is None:
        raise NoSuchVariable(f"variable {name} of job {job.id} {found.error}")
    try:
        return pickle.loads(found.pickle)
    except (Exception, SystemExit) as error:
        msg = f"variable {name} of job {job.id} cannot be unpickled here: {error}"
        raise JobFailed(msg) from error


def list_variables(job: Job, store: Store) -> pd.DataFrame:
    """Return the variables that a cell has assigned, with their types and sizes; none is unpickled."""
    import pandas as pd

    _check_finished(job)
    rows = calls.read_variables(store.db, job.id)
    frame = pd.DataFrame(rows, columns=list(calls.Variable._fields))
    frame["size"] = frame["size"].astype("Int64").mask(frame["note"].notna())
    return frame.set_index("name").astype({"type": "string", "note": "string"})


def _check_finished(job: Job) -> None:
    record = job.record
    if record.kind != Kind.CELL:
        raise BadInput(f"job {job.id} is a {record.kind}; only cells have variables")
    if not record.is_finished:
        raise NotFound(f"job {job.id} is {record.state}; its variables exist once it has finished: job.wait()")


def display_outputs(job: Job, store: Store) -> None:
    """Show again what the latest attempt of a cell displayed, and printed (the end of it), in this order."""
    from IPython.display import display

    if job.record.kind != Kind.CELL:
        raise BadInput(f"job {job.id} is a {job.record.kind}; only cells display something")
    outputs = calls.read_displays(store.db, job.id)
    printed = remove_replaced(job.log("stdout", tail=MAX_PRINTED_LINES), outputs)
    for output in outputs:
        data = output.get("data") or {"text/plain": output.get("text", "")}
        before, found, after = f"\n{printed}".partition(f"\n{data.get('text/plain')}\n")
        if found:  # the text of an output is in the log, too
            sys.stdout.write(f"{before}\n"[1:])
            printed = after
        display(data, metadata=output.get("metadata"), raw=True)
    sys.stdout.write(printed)
    sys.stderr.write(job.log("stderr", tail=MAX_PRINTED_LINES))
