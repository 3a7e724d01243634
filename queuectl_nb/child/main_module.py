"""The main module in the process of a function job: it has what the enqueuer defines in its own.

Such functions and classes are sent by value. The standard pickle, which multiprocessing, joblib and torch use, looks
for them in ``__main__``, where they are found when they are needed.
"""

from __future__ import annotations

import functools
import gc
import sys
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from queuectl_nb.child.payload import Arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cached", "JobArguments", "find", "find_again", "hidden", "make_main"]

Cached = type(functools.cache(int))
hidden = False
"""Set while a value is pickled for other processes, which need it by value."""
_KEYS = ("name", "blobs", "jobs", "function", "calls", "inputs")
_loaded: list[Any] = []


class JobArguments(list[str]):
    """``sys.argv`` of a job, with what is needed to load its functions again.

    multiprocessing passes ``sys.argv`` to the processes that it starts by spawn or forkserver. They import the main
    module by the name in its spec, to find the functions that it defines.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        super().__init__([request["name"]])
        self.request = {key: request[key] for key in _KEYS if key in request}


def make_main() -> ModuleType:
    """Return the main module of a job."""
    module = ModuleType("__main__")
    module.__spec__ = ModuleSpec("queuectl_nb.child.function_main", None)
    vars(module)["__getattr__"] = find
    return module


def find(name: str) -> Any:
    """Return the function or class of the enqueuer's main module with this name: ``__getattr__`` of the module."""
    if not hidden and not name.startswith("__"):
        if len(_find_all(name)) > 1:
            gc.collect()  # a class that was sent several times, of which cloudpickle keeps one
        if found := _find_all(name):
            return found[0]
    msg = f"module '__main__' has no attribute {name!r}"
    raise AttributeError(msg)


def find_again(name: str) -> Any:
    """Return what :func:`find` returns, in a process that multiprocessing has started."""
    if not _loaded and isinstance(sys.argv, JobArguments) and not name.startswith("__"):
        request = sys.argv.request
        arguments = Arguments(request)
        _loaded.append(arguments.load(request["function"]))
        for positional, keywords in request["calls"]:
            _loaded.extend(arguments.load(each) for each in (*positional, *keywords.values()))
    return find(name)


def _find_all(name: str) -> list[Any]:
    kinds = (FunctionType, Cached, type)
    alike = [each for each in gc.get_objects() if issubclass(type(each), kinds) and _is_named(each, name)]
    inner = {id(vars(each).get("__wrapped__")) for each in alike}
    return [each for each in alike if id(each) not in inner]  # of a decorated function, the decorator has the name


def _is_named(value: Any, name: str) -> bool:
    return getattr(value, "__module__", None) == "__main__" and getattr(value, "__qualname__", None) == name
