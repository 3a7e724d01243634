"""Runs a Python job in a process of its own: ``python -m queuectl_nb.child.process FD``.

The request is read from the descriptor: what ``store.calls.load_call`` returns, with the path of the reply. The module
of this package that has the name of the job's kind runs it.
"""

from __future__ import annotations

import atexit
import importlib
import marshal
import os
import random
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

from queuectl_nb.child.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["exit_process", "main", "run"]


def main(handle: int) -> int:
    """Read the request and run its job; return the exit code of the process."""
    with os.fdopen(handle, "rb") as file:
        request = marshal.load(file)  # noqa: S302 - written by the worker
    return run(request)


def run(request: Mapping[str, Any]) -> int:
    """Run the job of ``request``; return the exit code: 0 if it has succeeded."""
    reply = Reply(request["reply"], request["blob_dir"])
    if (error := _version_error(request["runtime"])) is not None:
        reply.write({"not_started": error})
        return 1
    sys.path[:] = request["runtime"]["sys_path"]
    sys.argv = [request["name"]]
    sys.modules["__main__"] = ModuleType("__main__")  # nothing is found there that the enqueuer does not have
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    modules = set(sys.modules)
    code: int = importlib.import_module(f"queuectl_nb.child.{request['kind']}").run(request, reply)
    reply.write({"modules": sorted({name.partition(".")[0] for name in set(sys.modules) - modules})})
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    return code


def _version_error(runtime: Mapping[str, Any]) -> str | None:
    """Return why this interpreter cannot run what another one has pickled."""
    enqueued, here = runtime["python"], list(sys.version_info[:3])
    if enqueued[:2] == here[:2]:
        return None
    names = [".".join(map(str, version)) for version in (enqueued, here)]
    return f"it was enqueued by Python {names[0]}, and {runtime['executable']} is Python {names[1]} now"


def exit_process(code: int) -> None:
    """End the process like an interpreter that has run a program, without tearing down the modules."""
    atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing does
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    os._exit(code)


if __name__ == "__main__":
    from queuectl_nb.child import process  # noqa: PLW0406 - __main__ is replaced in jobs

    process.exit_process(process.main(int(sys.argv[1])))
