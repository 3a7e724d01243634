"""Runs a notebook cell from standard input as a program: ``python -m queuectl_nb.child.cell [NAME=VALUE]…``.

Tracebacks show the cell's line numbers and source and hide this module. Top-level ``await`` works as in a notebook.
"""

from __future__ import annotations

import ast
import linecache
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType, TracebackType

__all__ = ["CELL_NAME", "compile_cell", "main"]

CELL_NAME = "<cell>"
"""File name of the cell in tracebacks."""
CO_COROUTINE = 0x80


def compile_cell(source: str) -> CodeType:
    """Compile the cell; with top-level ``await`` the code is that of a coroutine."""
    code: CodeType = compile(source, CELL_NAME, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


def main(words: list[str]) -> None:
    """Run the cell as ``__main__`` with the variables ``NAME=VALUE`` of ``words``."""
    source = sys.stdin.buffer.read().decode()
    linecache.cache[CELL_NAME] = (len(source), None, source.splitlines(keepends=True), CELL_NAME)
    sys.excepthook = _print_traceback
    sys.argv[:] = [CELL_NAME]
    code = compile_cell(source)
    # a module of its own, without the names of this one
    module = sys.modules["__main__"] = ModuleType("__main__")
    space = vars(module)
    for word in words:
        name, _, value = word.partition("=")
        space[name] = ast.literal_eval(value)
    if not code.co_flags & CO_COROUTINE:
        exec(code, space)  # noqa: S102 - what this program is for
        return
    import asyncio

    asyncio.run(eval(code, space))  # noqa: S307


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback that starts in the cell."""
    import traceback

    while trace is not None and trace.tb_frame.f_code.co_filename != CELL_NAME:
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)


if __name__ == "__main__":
    main(sys.argv[1:])
