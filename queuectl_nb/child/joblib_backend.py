"""Runs a batch of joblib's calls in the process of a job (``client/joblib_backend.py``)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Batch", "Shared", "run_batch"]


class Shared(NamedTuple):
    """Placeholder for a large argument, which is stored once for all batches that have it."""

    position: int


class Batch(NamedTuple):
    """Calls, and what Parallel within one of them uses: a backend and a number of jobs."""

    items: Sequence[tuple[Any, Sequence[Any], Mapping[str, Any]]]
    nested: tuple[Any, int | None]

    def __repr__(self) -> str:
        names = Counter(_name(function) for function, _, _ in self.items)
        return ", ".join(f"{count} x {name}" for name, count in names.items())


def _name(function: Any) -> str:
    function = getattr(function, "function", function)  # scikit-learn wraps it
    return getattr(function, "__name__", None) or type(function).__name__


def run_batch(batch: Batch, *shared: Any) -> list[Any]:
    """Make the calls and return their values."""
    import joblib

    def load(value: Any) -> Any:
        return shared[value.position] if isinstance(value, Shared) else value

    backend, jobs = batch.nested
    with joblib.parallel_config(backend=backend, n_jobs=jobs):
        return [
            function(*map(load, arguments), **{name: load(value) for name, value in keywords.items()})
            for function, arguments, keywords in batch.items
        ]
