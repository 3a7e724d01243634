"""Many jobs at once: dicts, a DataFrame, or a template with rows to fill it, turned into wishes one by one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import SPEC_FIELDS
from queuectl_nb.model.template import Template
from queuectl_nb.model.words import choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

__all__ = ["is_frame", "wishes"]


def is_frame(rows: object) -> bool:
    """Tell whether ``rows`` is a DataFrame, without loading pandas for it."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(rows, pandas.DataFrame)


def wishes(
    rows: str | Iterable[Mapping[str, Any]] | pd.DataFrame,
    frame: pd.DataFrame | Iterable[Mapping[str, Any]] | None,
    common: Mapping[str, Any],
) -> Iterator[Mapping[str, Any]]:
    """Yield the fields of each job: those that are ``common`` to all below its own.

    A DataFrame's columns that are no fields of a job are parameters and are left out; in a dict they are a mistake.
    Values that are missing (None, NaN, NaT) count as not given.

    Raises
    ------
    BadInput
        A common field is unknown, a template has no rows, or rows are given without one.
    """
    for key in common:
        choice("job field", key, SPEC_FIELDS)
    if isinstance(rows, str):
        yield from _filled(rows, frame, common)
        return
    if frame is not None:
        msg = "a frame beside the rows needs a template: enqueue_many('python train.py --lr {lr}', frame)"
        raise BadInput(msg)
    if is_frame(rows):
        if "command" not in rows.columns:  # type: ignore[union-attr]  # a DataFrame, as is_frame says
            msg = "the DataFrame needs a column 'command' (or give a template: enqueue_many('… {column}', frame))"
            raise BadInput(msg)
        for record in _records(rows):
            yield {
                **common,
                **{key: value for key, value in record.items() if key in SPEC_FIELDS and value is not None},
            }
        return
    for row in rows:
        if not isinstance(row, Mapping):
            msg = f"a job must be a dict with the fields of a job, not {type(row).__name__}"
            raise BadInput(msg)
        yield {**common, **row} if common else row


def _filled(template: str, rows: Any, common: Mapping[str, Any]) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Yield a job for each row, the template filled with its values."""
    if rows is None:
        msg = "a template needs rows to fill it: enqueue_many('python train.py --lr {lr}', frame)"
        raise BadInput(msg)
    parsed = Template(template)
    for row in _records(rows):
        yield {**common, "command": parsed.fill(row)}


def _records(rows: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a DataFrame or an iterable of dicts
    """Yield rows as dicts of Python values; a missing value is None."""
    if not is_frame(rows):
        yield from ({str(key): value for key, value in row.items()} for row in rows)
        return
    names = [str(name) for name in rows.columns]
    columns = [_python_values(rows.iloc[:, place]) for place in range(len(names))]
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _python_values(column: pd.Series[Any]) -> list[Any]:
    """Return a column as Python values, None where one is missing."""
    missing = column.isna()
    return [None if gone else value for value, gone in zip(column.tolist(), missing.tolist(), strict=True)]
