"""Turns a cell of a notebook into a job: its source, and the variables that it is given."""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.child.main_module import Cached
from queuectl_nb.client.cell_names import find_names
from queuectl_nb.client.function import Call, call_text
from queuectl_nb.client.payload import PayloadWriter, make_python_spec
from queuectl_nb.model.call import Kind
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from queuectl_nb.model.job import JobSpec

__all__ = ["MAX_AUTO_INPUT_BYTES", "Cell", "make_cell_spec"]

MAX_AUTO_INPUT_BYTES = 256 * 1024 * 1024
"""Larger variables are inputs only if they are named."""


class Cell(NamedTuple):
    """A cell that is to run as a job."""

    source: str
    inputs: Mapping[str, Any] = {}
    """Variables that were named."""
    candidates: Mapping[str, Any] = {}
    """Variables that are inputs if the cell reads them before it assigns them."""
    namespace: Mapping[str, Any] | None = None
    """The variables of the notebook, which are the globals of its functions."""


def make_cell_spec(path: Path, cell: Cell, options: Mapping[str, Any], *, resume: bool = False) -> JobSpec:
    """Return the spec of a job for the queue at ``path``; ``options`` are its other fields.

    If it has a key, or ``resume`` makes one, the source and the inputs are its work.

    Raises :class:`BadInput` if the cell is not valid Python, or an input cannot be pickled or is too large.
    """
    names = find_names(cell.source)
    values = {name: cell.candidates[name] for name in names.read if name in cell.candidates} | dict(cell.inputs)
    writer = PayloadWriter(path, cell.namespace)
    items = {}
    for name, value in values.items():
        pickled = writer.dump(f"input {name}", value)
        if (count := pickled.getbuffer().nbytes) > MAX_AUTO_INPUT_BYTES and name not in cell.inputs:
            size, limit = count >> 20, MAX_AUTO_INPUT_BYTES >> 20
            raise BadInput(f"input {name} has {size:,} MiB, more than {limit}; to pass it, name it: --input {name}")
        items[name] = writer.store(pickled)
    modules = [value.__name__.partition(".")[0] for value in values.values() if isinstance(value, ModuleType)]
    code = (ModuleType, FunctionType, Cached, type)
    data = {name: value for name, value in values.items() if not isinstance(value, code)}
    content = {
        "preload": sorted({"IPython", "cloudpickle", *names.modules, *modules}),
        "inputs": items,
        "shown": call_text("", [Call((), data)])[1:-1],
        "assigned": names.assigned,
        "imported": names.imported,
    }
    spec = make_python_spec(Kind.CELL, cell.source, writer.finish(content), options)
    if not resume and spec.key is None:
        return spec
    from queuectl_nb.client.keys import canonical_calls

    work = canonical_calls(cell.source, [values], "the cell", keyed=spec.key is not None)
    return spec._replace(identity=(work, ""))
