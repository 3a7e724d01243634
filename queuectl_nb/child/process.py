"""Runs a Python job in a process of its own, which a fork server or ``start.py`` has started.

The request is what ``store.calls.load_call`` returns, with the path of the reply. The module of this package that has
the name of the job's kind runs it.
"""

from __future__ import annotations

import _thread
import atexit
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from queuectl_nb.child.channel import PRELOADABLE
from queuectl_nb.child.main_module import FUNCTION_MAIN, make_main, make_name
from queuectl_nb.child.reply import Reply
from queuectl_nb.child.start import version_error

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["exit_process", "prepare", "run"]


def prepare(runtime: Mapping[str, Any]) -> str | None:
    """Set up the interpreter as ``runtime`` describes it; return why that is impossible.

    A fork server calls this, so that jobs need not.
    """
    sys.path[:] = runtime["sys_path"]
    sys.modules["__main__"] = make_main()
    return version_error(runtime)


def run(request: Mapping[str, Any], error: str | None) -> int:
    """Run the job of ``request``; return the exit code: 0 if it has succeeded. ``error`` is why it cannot start."""
    reply = Reply(request["reply"], request["blob_dir"])
    if error is not None:
        reply.write({"not_started": error})
        return 1
    sys.argv = [request["name"]]
    sys.modules["__main__"].__spec__.name = make_name(FUNCTION_MAIN, request)  # type: ignore[union-attr]
    for name in ("random", "numpy.random"):
        if name in sys.modules:  # otherwise it is seeded when it is imported
            sys.modules[name].seed()
    loaded = len(sys.modules)
    kind = f"queuectl_nb.child.{request['kind']}"
    code: int = (sys.modules.get(kind) or importlib.import_module(kind)).run(request, reply)
    if len(sys.modules) > loaded:
        new = [name for name in [*sys.modules][loaded:] if name.partition(".")[0] in PRELOADABLE]
        reply.add({"modules": new})
    reply.flush()
    if _thread._count():  # noqa: SLF001 - threading may not be loaded
        import threading

        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as Python: ends idle pools, joins threads
    return code


def exit_process(code: int) -> NoReturn:
    """End the process like an interpreter that has run a program, without tearing down the modules."""
    atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing does
    for stream in (sys.stdout, sys.stderr):
        if stream is None or getattr(stream, "closed", False):  # the job may replace or close it
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    os._exit(code)
