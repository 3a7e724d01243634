"""A cell of Python as a job's command: the kernel's interpreter reads the source from the command's own text.

The source rides in the job itself, so that it can run days later, runs again the same, and goes when the job goes.
"""

from __future__ import annotations

import ast
import shlex
import sys
from typing import TYPE_CHECKING

from queuectl_nb.child.cell import CELL_NAME, compile_cell
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["python_command"]


def python_command(source: str, values: Mapping[str, object]) -> str:
    """Return the command that runs ``source`` with ``values`` as its variables.

    Raises
    ------
    BadInput
        The cell is no Python, or a value cannot be written as a literal.
    """
    try:
        compile_cell(source)
    except (SyntaxError, ValueError) as error:
        where = str(error)
        if isinstance(error, SyntaxError):  # of a NUL no line is known
            where = error.msg if error.lineno is None else f"line {error.lineno}: {error.msg}"
        msg = f"the cell is no valid Python ({where}); magics and !commands are the notebook's own"
        raise BadInput(msg) from None
    end = "CELL"
    while end in source.split("\n"):
        end += "_"
    start = [
        sys.executable,
        "-m",
        "queuectl_nb.child.cell",
        *(f"{name}={_literal(name, values[name])}" for name in values),
    ]
    # exec: the job is the interpreter itself, which TERM and a crash's signal name reach without a shell between
    return f"exec {shlex.join(start)} <<'{end}'\n{source}\n{end}"


def _literal(name: str, value: object) -> str:
    """Return a value as Python writes it; refuse what would not come back the same."""
    plain = value.item() if hasattr(value, "item") and not getattr(value, "shape", ()) else value
    text = repr(plain)
    try:
        same = ast.literal_eval(text) == plain
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        same = False
    if not same:
        what = text if isinstance(plain, float) else type(value).__name__
        msg = (
            f"--var {name} is {what}, which {CELL_NAME} cannot take over;"
            " finite numbers, texts, and lists, tuples, sets and dicts of those go"
        )
        raise BadInput(msg)
    return text
