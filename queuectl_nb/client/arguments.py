"""Convert the arguments of the Python API: jobs to ids, times to seconds, values to plain Python."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from queuectl_nb.client.job import Job
from queuectl_nb.model import times, validation
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

    Jobs = str | Job | Iterable[str | Job] | pd.DataFrame

__all__ = ["PLAIN_TYPES", "parse_age", "parse_ids", "parse_since", "parse_timeout", "to_python"]

PLAIN_TYPES = frozenset({str, int, float, bool, type(None), list, tuple, dict})
"""Types that :func:`to_python` returns unchanged."""


def parse_ids(jobs: Iterable[Jobs]) -> list[str]:
    """Return the ids of jobs and ids, and of collections of these: a batch, a list, a frame of jobs or its column."""
    found: list[str] = []
    for each in jobs:
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, Job):
            found.append(each.id)
        elif hasattr(each, "columns"):
            frame = cast("pd.DataFrame", each)  # pandas may not be loaded
            found += parse_ids([frame.get("job_id", frame.index)])
        elif isinstance(each, Iterable) and not isinstance(each, bytes):
            found += parse_ids(each)
        else:
            raise BadInput(f"expected a job or its id, not {validation.quoted(each)}")
    return found


def parse_timeout(timeout: object) -> float | None:
    """Return a timeout in seconds (None: no limit), also of a text such as ``10m``; a negative one is 0."""
    if timeout is None:
        return None
    value = _to_seconds(timeout)
    if isinstance(value, int | float) and value < 0:
        return 0.0
    return validation.parse_duration("timeout", value)


def parse_age(what: str, value: object) -> float:
    """Return seconds from a number, a timedelta, or a text such as ``7d``."""
    if isinstance(value, str):
        return validation.parse_age(what, value)
    return validation.parse_number(what, _to_seconds(value))


def parse_since(what: str, value: object) -> float:
    """Return epoch seconds from a datetime, an ISO 8601 text or epoch seconds; or from an age (``7d``, a timedelta)."""
    if isinstance(value, timedelta):
        return time.time() - value.total_seconds()
    if isinstance(value, int | float):
        return validation.parse_number(what, value, 0, times.MAX_TIME)
    try:
        return time.time() - validation.parse_age(what, value)
    except BadInput:
        if isinstance(value, str) and value[-1:] in "dhms" and value[:1].isdigit() and "-" not in value:
            raise
    try:
        return times.parse_time(what, value)
    except BadInput:
        msg = f"{what} must be an age such as 7d, 12h, 90m, 30s, or an ISO 8601 time, not {validation.quoted(value)}"
        raise BadInput(msg) from None


def _to_seconds(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


def to_python(value: Any) -> Any:  # noqa: PLR0911 - one for each kind of value
    """Convert a NumPy or pandas value to a Python value; NaT and ``pd.NA`` become None.

    Times without a zone are local times, as in text; timedeltas become seconds.
    """
    kind = type(value)
    if kind in PLAIN_TYPES:
        return value
    if kind.__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not hasattr(value, "dtype"):
        return value
    if value.dtype.kind not in "mM" or hasattr(value, "__len__"):
        return value.tolist()
    unit = "datetime64[us]" if value.dtype.kind == "M" else "timedelta64[us]"
    return to_python(value.astype(unit).item())  # None for NaT of NumPy
