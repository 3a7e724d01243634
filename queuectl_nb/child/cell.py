"""Runs a cell as a job, in IPython's shell. Its value is that of its last expression."""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from types import BuiltinFunctionType, FunctionType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from queuectl_nb.child.displays import Displays
from queuectl_nb.child.main_module import make_name
from queuectl_nb.child.payload import Arguments
from queuectl_nb.child.reply import Reply, Unpicklable, short_repr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.child.cell_shell import CellShell

__all__ = ["CELL_NAME", "run", "run_again"]

CELL_NAME = "<cell>"
"""File name of the cell in tracebacks."""
MAIN_MODULE = "queuectl_nb.child.cell_main"
"""Module that multiprocessing imports as the main module of the cell."""


def run(request: Mapping[str, Any], reply: Reply) -> int:
    """Run the cell of ``request``; return the exit code."""
    reply.by_value = True
    module = sys.modules["__main__"]
    del module.__getattr__
    module.__spec__ = ModuleSpec(make_name(MAIN_MODULE, request), None)
    sys.argv[0] = CELL_NAME
    displays = Displays(request["displays"], request["display_limit"])
    try:
        shell = _prepare(request, module, displays)
    except BaseException as error:  # noqa: BLE001 - whatever unpickling an input raises
        reply.write({"call": 0, "raised": True, **reply.exception(error, error.__traceback__)})
        return 1
    before = dict(vars(module))
    failure, value = shell.run(request["name"])
    displays.close()
    if os.getpid() != reply.pid:  # a process that the cell has forked, and that returned here
        return 0
    changed = [name for name, value in vars(module).items() if before.get(name, before) is not value]
    names = dict.fromkeys(name for name in [*request["assigned"], *changed] if name not in request["imported"])
    _keep_variables(reply, shell, names)
    return _finish(reply, failure, value)


def run_again(request: Mapping[str, Any], space: dict[str, Any]) -> None:
    """Run the cell again in the namespace ``space``, in a process that multiprocessing has started.

    It ends where the cell itself starts processes, which is an error here; what it defines before is enough.
    """
    import multiprocessing

    module = ModuleType(space["__name__"])
    module.__dict__.update(space)
    shell = _prepare(request, module, Displays(None))
    error, _ = shell.run(request["name"])
    space.update(vars(module))
    if error is not None and not isinstance(error, RuntimeError):
        sys.stderr.write(f"in {multiprocessing.current_process().name}: {type(error).__name__}: {error}\n")


def _prepare(request: Mapping[str, Any], module: ModuleType, displays: Displays) -> CellShell:
    """Return the shell, with the inputs of the cell as variables of ``module``."""
    from queuectl_nb.child.cell_shell import make_shell

    shell = make_shell(module, displays)
    arguments = Arguments(request, vars(module))
    values = {name: arguments.load(item) for name, item in request["inputs"].items()}
    vars(module).update(values)  # functions among the inputs bring variables of the same names
    return shell


# ---------------------------------------------------------------------- what is kept


def _keep_variables(reply: Reply, shell: CellShell, names: Mapping[str, None]) -> None:
    """Write a line for each variable that the cell has assigned, except modules and imported functions."""
    space, hidden = shell.user_ns, shell.user_ns_hidden
    number = 0
    for name in names:
        if name not in space or name.startswith("_") or hidden.get(name, hidden) is space[name]:
            continue
        value = space[name]
        if isinstance(value, ModuleType) or (
            isinstance(value, FunctionType | BuiltinFunctionType | type) and value.__module__ != "__main__"
        ):
            continue
        number += 1
        entry = {"call": number, "raised": False, "name": name, "type": _type_name(type(value))}
        try:
            reply.write({**entry, **reply.pickle(value)})
        except Unpicklable as error:
            reply.write({**entry, "note": f"cannot be pickled: {error}"})
        except OSError as error:  # the disk is full
            reply.write({**entry, "note": f"cannot be written: {error.strerror}"})


def _type_name(kind: type) -> str:
    known = kind.__module__ in {"builtins", "__main__"}
    return kind.__qualname__ if known else f"{kind.__module__}.{kind.__qualname__}"


def _finish(reply: Reply, error: BaseException | None, value: object) -> int:
    """Write how the cell ended; return the exit code."""
    if error is None or (isinstance(error, SystemExit) and error.code in {None, 0}):
        try:
            reply.write(reply.value(0, None if error else value, as_json=True))
        except Unpicklable as reason:  # what a cell shows last is often not meant to be kept
            note = f"cannot be pickled: {_type_name(type(value))}: {reason}"
            reply.write({"call": 0, "raised": False, "result": None, "repr": short_repr(value), "note": note})
        except OSError as reason:
            facts = {"error": f"the value cannot be written: {reason.strerror}", "repr": short_repr(value)}
            reply.write({"call": 0, "raised": True, **facts})
            return 1
        return 0
    if isinstance(error, SystemExit):
        facts, code = reply.exit(error)
    else:
        facts, code = reply.exception(error, _cell_frames(error.__traceback__)), 1
    reply.write({"call": 0, "raised": True, **facts})
    return code


def _cell_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the cell on, or the whole one if the cell is not in it."""
    found = trace
    while found is not None and found.tb_frame.f_code.co_filename != CELL_NAME:
        found = found.tb_next
    return found or trace
