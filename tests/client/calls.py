"""Calls of functions as jobs, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb import Queue

__all__ = ["TIMEOUT_S", "run"]

TIMEOUT_S = 60.0


def run(queue: Queue, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a function with a single attempt and return its value."""
    return queue.task(function, max_retries=1).submit(*args, **kwargs).result(TIMEOUT_S)
