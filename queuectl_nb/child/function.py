"""Runs the calls of a function job. A line of the reply for each of them lets a retry repeat only those that failed."""

from __future__ import annotations

import importlib
import os
import sys
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from queuectl_nb.child.payload import Arguments
from queuectl_nb.child.reply import MAX_REPR_CHARS, Reply, Unpicklable, print_error, short_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

__all__ = ["run"]


def run(request: Mapping[str, Any], reply: Reply) -> int:
    """Make the calls of ``request`` that have not returned yet; return the exit code."""
    arguments = Arguments(request)
    try:
        function = _load_function(request["function"], arguments)
    except BaseException as error:  # noqa: BLE001 - whatever importing it raises
        facts = reply.exception(error, _own_frames(error.__traceback__))
        call = next((number for number in range(len(request["calls"])) if number not in request["done"]), 0)
        final = isinstance(error, ImportError | AttributeError)
        reply.write({"call": call, "raised": True, "final": final, **facts})
        return 1
    calls = request["calls"]
    single = len(calls) == 1 and not request["chunk"]
    done = set(request["done"])
    last = max((number for number in range(len(calls)) if number not in done), default=-1)
    failed: list[dict[str, Any]] = []
    shown = ["…"] if done else []
    code = 0
    for number, call in enumerate(calls):
        if number in done:
            continue
        entry, exit_code = _call(function, arguments, call, number, reply, single=single)
        if entry.get("error") is not None:
            failed.append(entry)
            code = code or exit_code
        shown.append(str(entry.get("repr")))
        reply.add(entry if number == last else {**entry, "final": False})  # the process may end before the last call
        if number != last:  # otherwise process.run() does it
            reply.flush()
    if len(calls) - len(done) > 1 and failed:
        reply.write(_summary(failed, len(calls) - len(done)))
    elif not single and not failed:
        reply.write({"repr": f"[{', '.join(shown)}]"[:MAX_REPR_CHARS], "returned": True})
    return code


def _load_function(item: Mapping[str, str], arguments: Arguments) -> Callable[..., Any]:
    """Return the function from its pickle, or import it by its name."""
    if "reference" not in item:
        return arguments.load(item)  # type: ignore[no-any-return]
    module, _, names = item["reference"].partition(":")
    sys.path.insert(0, os.getcwd())
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    if not callable(found):
        msg = f"{item['reference']} is not a function, but of type {type(found).__name__}"
        raise ImportError(msg)  # noqa: TRY004 - final, as for a function that does not exist
    return found  # type: ignore[no-any-return]


def _call(
    function: Callable[..., Any], arguments: Arguments, call: Any, number: int, reply: Reply, *, single: bool
) -> tuple[dict[str, Any], int]:
    """Make one call; return the line of the reply, and the exit code if it failed."""
    try:
        positional = [arguments.load(each) for each in call[0]]
        keywords = {name: arguments.load(each) for name, each in call[1].items()}
        value = function(*positional, **keywords)
        if isinstance(value, CoroutineType):  # the function is async
            import asyncio

            value = asyncio.run(value)
    except SystemExit as error:
        if error.code is None or error.code == 0:
            return reply.value(number, None, as_json=single), 0
        facts, code = reply.exit(error)
        return {"call": number, "raised": True, **facts}, code
    except BaseException as error:  # noqa: BLE001 - of the user's function
        return {"call": number, "raised": True, **reply.exception(error, _own_frames(error.__traceback__))}, 1
    try:
        return reply.value(number, value, as_json=single), 1
    except Unpicklable as error:
        text = f"{type(value).__name__}: {error}"
        print_error(f"the value cannot be pickled: {text}\n")
        facts = {"error": f"the value cannot be pickled: {text}", "final": True, "repr": short_repr(value)}
    except OSError as error:  # the disk is full
        facts = {"error": f"the value cannot be written: {error.strerror}", "repr": short_repr(value)}
    return {"call": number, "raised": True, **facts}, 1


def _summary(failed: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """Return the outcome of a job of several calls of which some failed."""
    after = [entry["retry_after"] for entry in failed if entry.get("retry_after") is not None]
    return {
        "error": f"{len(failed)} of {count} calls failed: {failed[0]['error']}",
        "retry_after": max(after, default=None),
        "final": all(entry.get("final") for entry in failed),
        "repr": None,
    }


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the user's function on."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace
