"""The functions, cells and notebooks that :mod:`tests.journeys.chaos` runs, and what their jobs have left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from queuectl_nb.client.cell import Cell, make_cell_spec
from queuectl_nb.client.function import Call, FunctionPickler
from queuectl_nb.client.notebook import make_notebook_specs
from queuectl_nb.client.task import make_call_spec
from queuectl_nb.model.call import Kind
from queuectl_nb.store.calls import read_displays
from tests.journeys import chaos_functions

if TYPE_CHECKING:
    import random

    from queuectl_nb import Job, Queue
    from queuectl_nb.model.job import JobSpec

__all__ = ["PythonJobs", "kind_of", "read_value"]

SIZES = (0, 1000, 200_000)
"""Sizes of the values of functions and cells."""
NOTEBOOK_KINDS = ("plain", "ignores_term", "daemon", "fork")
"""The others end the kernel, or its parent, which is a failure."""
CELL = """\
import os
from tests.journeys.chaos_functions import work
display(os.environ["QUEUECTL_ATTEMPT_TOKEN"])
found = work({number!r}, {kind!r}, {seconds}, argument, {size})
found{end}
"""
NOTEBOOK = (
    "number = kind = seconds = ''",
    """\
import sys
sys.path.append({folder!r})
from tests.journeys.chaos_functions import work
work(number, kind, seconds, b"", 0)
""",
)


def kind_of(number: int) -> str:
    """Return what job ``number`` is: a fourth are functions, 4 % cells and 2 % notebooks, which take seconds."""
    if number % 25 == 9:
        return Kind.CELL
    if number % 50 == 14:
        return Kind.NOTEBOOK
    return Kind.FUNCTION if number % 4 == 3 else Kind.COMMAND


class PythonJobs:
    """Makes the specs of Python jobs; the notebook is in ``folder``."""

    def __init__(self, queue: Queue, rng: random.Random, folder: Path) -> None:
        self._queue = queue
        self._rng = rng
        self._pickler = FunctionPickler(queue.path, chaos_functions.work)
        self._notebook = folder / "chaos.ipynb"
        content = nbformat.v4.new_notebook()
        content.metadata.kernelspec = {"name": "python3", "display_name": "python3", "language": "python"}
        repository = str(Path(__file__).parents[2])
        content.cells = [nbformat.v4.new_code_cell(source.format(folder=repository)) for source in NOTEBOOK]
        content.cells[0].metadata.tags = ["parameters"]
        nbformat.write(content, self._notebook)

    def spec(self, number: int, seconds: float) -> JobSpec:
        """Return the spec of job ``number``; its argument and value are stored in the database or as files."""
        argument = self._rng.choice([b"", b"shared" * 20_000, b"%d" % number * 100_000])
        size, kind = self._rng.choice(SIZES), self._rng.choice([*chaos_functions.KINDS])
        options: dict[str, Any] = {"id": str(number), "tags": [kind]}
        if kind_of(number) == Kind.CELL:
            end = ";" if kind == "quiet" else ""  # with its output closed, a cell cannot display its value
            source = CELL.format(number=str(number), kind=kind, seconds=seconds, size=size, end=end)
            return make_cell_spec(self._queue.path, Cell(source, {"argument": argument}), options)
        if kind_of(number) == Kind.NOTEBOOK:
            kind = NOTEBOOK_KINDS[number // 50 % len(NOTEBOOK_KINDS)]
            row = {"id": str(number), "number": str(number), "kind": kind, "seconds": seconds}
            return make_notebook_specs(
                self._queue, self._notebook, [row], None, kernel=None, allow_unknown=False, tags=[kind]
            )[0]
        call = Call((str(number), kind, seconds, argument, size))
        return make_call_spec(self._pickler, [call], options, chunk=False)


def read_value(queue: Queue, job: Job) -> tuple[Any, ...]:
    """Return number and token of the attempt that has left the value of a job, and what else was in it.

    Parts that are of different attempts are empty.
    """
    if job.record.kind == Kind.NOTEBOOK:
        (output,) = nbformat.read(job.result(), as_version=4).cells[-1].outputs
        number, token, *_ = output.data["text/plain"].strip("()").split(", ")
        return int(number), token.strip("'")
    error = job.exception()
    if error is not None:
        return error.args
    value: tuple[Any, ...] = job.result()
    if job.record.kind != Kind.CELL:
        return value
    found: tuple[Any, ...] = job["found"]
    shown = read_displays(queue.store.db, job.id)[0]["data"]["text/plain"].strip("'")
    same = value == (None if "quiet" in job.tags else found) and shown == found[1]
    return found if same else (None, None)
