"""Runs a notebook's cell, read from standard input, as a program: ``python -m queuectl_nb.child.cell [NAME=VALUE]…``.

Tracebacks show the cell's own line numbers and source, and nothing of this module. ``await`` works at the top, as in
a notebook.
"""

from __future__ import annotations

import ast
import linecache
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType, TracebackType

__all__ = ["NAME", "compiled", "main"]

NAME = "<cell>"
"""What tracebacks call the cell."""
CO_COROUTINE = 0x80


def compiled(source: str) -> CodeType:
    """Return the cell's code; with ``await`` at the top it is a coroutine's."""
    code: CodeType = compile(source, NAME, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


def main(words: list[str]) -> None:
    """Run the cell as ``__main__``, with the values of ``words`` as its variables."""
    source = sys.stdin.buffer.read().decode()
    linecache.cache[NAME] = (len(source), None, source.splitlines(keepends=True), NAME)
    sys.excepthook = _show
    sys.argv[:] = [NAME]
    code = compiled(source)
    # a module of its own: what the cell defines must not meet what is ours
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


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write a traceback that begins in the cell."""
    import traceback

    while trace is not None and trace.tb_frame.f_code.co_filename != NAME:
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)


if __name__ == "__main__":
    main(sys.argv[1:])
