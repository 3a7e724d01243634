"""Runs a notebook cell from standard input as a program: ``python -m queuectl_nb.child.cell [NAME=VALUE]…``.

Tracebacks show the cell's line numbers and source and hide this module. Top-level ``await`` works as in a notebook.
"""

from __future__ import annotations

import ast
import linecache
import sys
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType, TracebackType
from typing import Any

__all__ = ["CELL_NAME", "CellArguments", "compile_cell", "main", "run_cell"]

CELL_NAME = "<cell>"
"""File name of the cell in tracebacks."""
MAIN_MODULE = "queuectl_nb.child.cell_main"
"""Module that multiprocessing imports as the main module of the cell."""
CO_COROUTINE = 0x80


def compile_cell(source: str) -> CodeType:
    """Compile the cell; with top-level ``await`` the code is that of a coroutine."""
    code: CodeType = compile(source, CELL_NAME, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


class CellArguments(list[str]):
    """``sys.argv`` of a cell, with what is needed to run the cell again.

    multiprocessing passes ``sys.argv`` to the processes that it starts by spawn or forkserver. They import the main
    module, to find the functions that it defines.
    """

    def __init__(self, source: str, words: list[str]) -> None:
        """Contain only :data:`CELL_NAME`."""
        super().__init__([CELL_NAME])
        self.source = source
        self.words = words


def main(words: list[str]) -> None:
    """Run the cell as ``__main__`` with the variables ``NAME=VALUE`` of ``words``."""
    source = sys.stdin.buffer.read().decode()
    sys.excepthook = _print_traceback
    sys.argv = CellArguments(source, words)
    # a module of its own, without the names of this one
    module = sys.modules["__main__"] = ModuleType("__main__")
    module.__spec__ = ModuleSpec(MAIN_MODULE, None)
    run_cell(source, words, vars(module))


def run_cell(source: str, words: list[str], space: dict[str, Any]) -> None:
    """Run the cell in the namespace ``space`` with the variables ``NAME=VALUE`` of ``words``."""
    linecache.cache[CELL_NAME] = (len(source), None, source.splitlines(keepends=True), CELL_NAME)
    code = compile_cell(source)
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
    from queuectl_nb.child import cell  # noqa: PLW0406 - under a name by which CellArguments can be unpickled

    cell.main(sys.argv[1:])
