"""The main module in the process of a function job: it has what the enqueuer defines in its own.

Such functions and classes are sent by value. The standard pickle, which multiprocessing, joblib and torch use, looks
for them in ``__main__``, where they are found when they are needed.
"""

from __future__ import annotations

import _thread
import functools
import gc
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from queuectl_nb.child.payload import Arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cached", "MainName", "find", "find_again", "hidden", "make_main", "make_name", "received"]

Cached = type(functools.cache(int))
hidden = 0
"""The thread that pickles a value for other processes, which need it by value; 0 if there is none."""
FUNCTION_MAIN = "queuectl_nb.child.function_main"
received: MainName | None = None
"""The name of the main module in a process that multiprocessing has started."""
_KEYS = ("name", "blobs", "jobs", "function", "calls", "inputs")
_loaded: list[Any] = []


class MainName(str):  # noqa: SLOT000 - has an attribute
    """The name of a job's main module in its spec, with what is needed to load its functions again.

    multiprocessing, and loky, pass it to the processes that they start by spawn or forkserver, which import the main
    module by it, to find the functions that it defines.
    """

    request: Mapping[str, Any]

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the request when pickled."""
        return _receive, (str(self), self.request)


def _receive(name: str, request: Mapping[str, Any]) -> MainName:
    global received  # noqa: PLW0603 - one for each process
    received = make_name(name, request)
    return received


def make_name(name: str, request: Mapping[str, Any]) -> MainName:
    """Return the name of a module as the main module of the job of ``request``."""
    found = MainName(name)
    found.request = {key: request[key] for key in _KEYS if key in request}
    return found


def make_main() -> ModuleType:
    """Return the main module of a job."""
    module = ModuleType("__main__")
    module.__spec__ = ModuleSpec(FUNCTION_MAIN, None)
    vars(module)["__getattr__"] = find
    return module


def find(name: str) -> Any:
    """Return the function or class of the enqueuer's main module with this name: ``__getattr__`` of the module."""
    if hidden != _thread.get_ident() and not name.startswith("__"):
        count = len(_find_all(name))  # without a reference to what is collected next
        if count > 1:
            gc.collect()  # a class that was sent several times, of which cloudpickle keeps one
        elif not count:
            gc.unfreeze()  # the job may have called gc.freeze()
        if found := _find_all(name):
            return found[0]
    msg = f"module '__main__' has no attribute {name!r}"
    raise AttributeError(msg)


def find_again(name: str) -> Any:
    """Return what :func:`find` returns, in a process that multiprocessing has started."""
    if not _loaded and received is not None and not name.startswith("__"):
        request = received.request
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
