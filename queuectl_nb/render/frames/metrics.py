"""The metrics of attempts as a long DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from queuectl_nb.render.frames import arrays
from queuectl_nb.render.frames.display import mark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from queuectl_nb.store.metrics import AttemptMetrics

__all__ = ["metrics"]

_NO_FLOATS = np.empty(0)


def metrics(attempts: Iterable[AttemptMetrics]) -> pd.DataFrame:
    """Return a row per point: ``job_id``, ``attempt``, ``time``, ``step``, ``name``, ``value``.

    ``attrs["invalid_lines"]`` counts the lines that were no JSON objects, by job.
    """
    ids: list[str] = []
    codes: dict[str, int] = {}
    parts: dict[str, list[NDArray[np.float64]]] = {name: [_NO_FLOATS] for name in ("time", "step", "value")}
    invalid: dict[str, int] = {}
    counts: list[tuple[int, int, int, int]] = []
    for attempt in attempts:
        ids.append(attempt.job_id)
        invalid[attempt.job_id] = invalid.get(attempt.job_id, 0) + attempt.invalid
        for name, columns in attempt.series.items():
            code = codes.setdefault(name, len(codes))
            counts.append((len(ids) - 1, attempt.number, code, len(columns[0])))
            for each, column in zip(parts, columns, strict=True):
                parts[each].append(np.frombuffer(column, dtype="float64"))
    names = list(codes)
    rows = np.array(counts, dtype="int64").reshape(-1, 4)
    repeated = np.repeat(rows[:, :3], rows[:, 3], axis=0)
    values = {name: np.concatenate(each) for name, each in parts.items()}
    frame = pd.DataFrame(
        {
            "job_id": pd.array(np.array(ids or [""], dtype=object)[repeated[:, 0]], dtype="string"),
            "attempt": arrays.integers(repeated[:, 1]),
            "time": arrays.timestamps(values["time"]),
            "step": _steps(values["step"]),
            "name": arrays.categories(repeated[:, 2], names),
            "value": values["value"],
        }
    )
    frame.attrs["invalid_lines"] = {job_id: count for job_id, count in invalid.items() if count}
    return mark(frame, "rows")


def _steps(values: NDArray[np.float64]) -> pd.arrays.IntegerArray | pd.arrays.FloatingArray:
    """Return integers if all steps are whole numbers."""
    known = values[~np.isnan(values)]
    whole = bool(np.all(np.isfinite(known) & (known == np.floor(known)) & (np.abs(known) < 2**53)))
    return arrays.integers(values) if whole else arrays.nullable_floats(values)
