"""The pickler of functions, arguments and values: cloudpickle, and what it does not pickle of :mod:`functools`.

An enqueuer and the processes of jobs use it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import cloudpickle

from queuectl_nb.child.main_module import Cached

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Pickler", "is_sent_by_value"]


def is_sent_by_value(function: Any) -> bool:
    """Return True for a function that jobs do not import: of the main module, of a function, or ``by_value``."""
    module = f"{getattr(function, '__module__', None)}."
    return (
        module == "__main__."
        or "<locals>" in getattr(function, "__qualname__", "")
        or any(module.startswith(f"{each}.") for each in cloudpickle.list_registry_pickle_by_value())
    )


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # not typed
    """Pickles like cloudpickle, also cached functions, without what they have cached, and cached properties."""

    def reducer_override(self, value: Any) -> Any:
        """Return how a value is pickled."""
        if type(value) is functools.cached_property:  # has a lock in Python 3.11
            return functools.cached_property, (value.func,), {"attrname": value.attrname}
        if type(value) is Cached and is_sent_by_value(value):
            return _make_cached, (value.__wrapped__, value.cache_parameters())
        return super().reducer_override(value)


def _make_cached(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Callable[..., Any]:
    cached: Callable[..., Any] = functools.lru_cache(**parameters)(function)
    return cached
