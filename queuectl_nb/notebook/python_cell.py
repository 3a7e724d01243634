"""A Python cell as the command of a job, run by the kernel's interpreter.

The command contains the source, so that the job can run later or again, and needs no other file.
"""

from __future__ import annotations

import ast
import contextlib
import shlex
import sys
from collections.abc import Mapping

from queuectl_nb.child.cell import compile_cell
from queuectl_nb.model.errors import BadInput

__all__ = ["python_command"]


def python_command(source: str, values: Mapping[str, object]) -> str:
    """Return the command that runs ``source`` with ``values`` as variables.

    Raises
    ------
    BadInput
        The source is not valid Python, or a value cannot be written as a literal.
    """
    try:
        compile_cell(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "too deeply nested"
        if isinstance(error, SyntaxError):  # there is no line number for a NUL character
            reason = error.msg if error.lineno is None else f"line {error.lineno}: {error.msg}"
        msg = f"the cell is not valid Python ({reason}); magics and !commands work in the notebook only"
        raise BadInput(msg) from None
    end = "CELL"
    while end in source.split("\n"):
        end += "_"
    start = [sys.executable, "-m", "queuectl_nb.child.cell", *(f"{key}={_literal(key, values[key])}" for key in values)]
    # exec: no shell between the job and the interpreter, so that signals and exit codes are the interpreter's
    return f"exec {shlex.join(start)} <<'{end}'\n{source}\n{end}"


def _literal(name: str, value: object) -> str:
    """Return a value as a Python literal; reject values that do not round-trip."""
    what = type(value).__name__
    with contextlib.suppress(Exception):  # methods of the value can raise anything
        plain = value.item() if hasattr(value, "item") and not getattr(value, "shape", ()) else value
        text = repr(plain)
        what = text if isinstance(plain, float) else what
        if ast.literal_eval(text) == plain:
            return text
    raise BadInput(
        f"--var {name} is {what}, which cannot be passed to a cell; supported are finite numbers, strings, None,"
        " and lists, tuples, sets and dicts of these"
    )
