"""Turn dicts, a DataFrame, or a template with rows into the fields of jobs.

Does not import pandas: a caller that passes a DataFrame has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.arguments import PLAIN_TYPES, to_python
from queuectl_nb.model.command_template import CommandTemplate
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import SPEC_FIELDS
from queuectl_nb.model.validation import parse_choice, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    Rows = str | Iterable[Mapping[str, Any]] | pd.DataFrame

__all__ = ["convert_field", "frame_rows", "is_frame", "iter_fields", "render_commands"]

_FIELDS = frozenset(SPEC_FIELDS)
_INTEGER_FIELDS = frozenset({"priority", "max_retries"})
_NAME_FIELDS = frozenset({"id", "queue"})


def is_frame(rows: object) -> bool:
    """Return True if ``rows`` is a DataFrame."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(rows, pandas.DataFrame)


def iter_fields(rows: Rows, frame: Any, common: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return an iterator of the fields of each job: its own, completed by those that are ``common`` to all.

    Parameters
    ----------
    rows
        Dicts with job fields; or a DataFrame with a column ``command``; or a template, filled once for each row of
        ``frame``.
    frame
        The rows for a template: a DataFrame (named levels of its index count as columns), or dicts.
    common
        Fields for all jobs; the values of a row take precedence unless they are missing (None, NaN, NaT).

    Notes
    -----
    Columns of a DataFrame that are not job fields are ignored unless the template names them; in a dict they are an
    error. A job field that the template names is only a parameter.

    Raises
    ------
    BadInput
        Immediately for errors that concern all rows, while iterating for errors in a row.
    """
    for key in common:
        parse_choice("job field", key, SPEC_FIELDS)
    shared = {key: to_python(value) for key, value in common.items()}
    if isinstance(rows, str):
        if frame is None:
            raise BadInput("a template needs rows to fill it: enqueue_many('python train.py --lr {lr}', frame)")
        if "command" in shared:
            raise BadInput("a template cannot be combined with command=")
        template = CommandTemplate(rows)
        if is_frame(frame):
            template.check(name for name in (*frame.columns, *frame.index.names) if isinstance(name, str))
            return _frame_fields(frame, template, shared)
        return _fill_from_dicts(template, _require_rows("rows for the template", frame), shared)
    if frame is not None:
        raise BadInput("frame= needs a template: enqueue_many('python train.py --lr {lr}', frame)")
    if not is_frame(rows):
        return _iter_dicts(_require_rows("jobs", rows), shared)
    if "command" not in shared and "command" not in _labels(rows):
        remedy = "enqueue_many takes a DataFrame with a column 'command', or a template and a frame"
        raise BadInput(f"the DataFrame has no column 'command': {remedy}")
    return _frame_fields(rows, None, shared)


def render_commands(template: str | None, frame: pd.DataFrame) -> Iterator[str] | None:
    """Return the commands of the rows, from a template or the column ``command``; None without these columns."""
    try:
        if template is None:
            return iter(_columns(frame, ["command"])["command"])
        parsed = CommandTemplate(template)
        columns = _columns(frame, parsed.names)
    except BadInput:
        return None
    return (parsed.fill(dict(zip(columns, values, strict=True))) for values in _iter_rows(frame, columns))


def _require_rows(what: str, rows: Any) -> Iterable[Any]:
    """Return ``rows`` if they can be iterated; refuse a single dict."""
    if isinstance(rows, Iterable) and not isinstance(rows, Mapping):
        return rows
    msg = f"the {what} must be a list of dicts, or a DataFrame; this is "
    raise BadInput(msg + ("a single dict" if isinstance(rows, Mapping) else quoted(rows)))


def _iter_dicts(rows: Iterable[Any], shared: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield dicts with plain Python values."""
    for row in rows:
        own = _normalize_row(row)
        yield {**shared, **{key: value for key, value in own.items() if value is not None}} if shared else own


def _normalize_row(row: object) -> Mapping[str, Any]:
    """Return a dict with plain Python values; the same dict if it has them already."""
    if not isinstance(row, Mapping):
        raise BadInput(f"a job must be a dict such as {{'command': 'true'}}, not {quoted(row)}")
    for value in row.values():
        if type(value) not in PLAIN_TYPES:
            return {key: to_python(each) for key, each in row.items()}
    return row


def _fill_from_dicts(
    template: CommandTemplate, rows: Iterable[Mapping[str, Any]], shared: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    names = frozenset(template.names)
    for row in rows:
        if not isinstance(row, Mapping):
            raise BadInput(f"a row for the template must be a dict, not {quoted(row)}")
        for key in row:
            if key not in names and (key not in _FIELDS or key == "command"):
                msg = f"{quoted(key)} is neither in the command ({', '.join(template.names)}) nor a field of a job"
                raise BadInput(msg)
        own = {key: each for key in row if key not in names and (each := to_python(row[key])) is not None}
        gone = {key: None for key in names if type(row.get(key)) not in PLAIN_TYPES and to_python(row[key]) is None}
        yield {**shared, **own, "command": template.fill({**row, **gone} if gone else row)}


def _frame_fields(
    frame: Any, template: CommandTemplate | None, shared: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Return an iterator of the job fields in the rows of a frame; a ``template`` is filled with the other columns."""
    parameters = () if template is None else template.names
    labels = _labels(frame)
    used = [name for name in SPEC_FIELDS if name in labels and name not in parameters]
    columns = _columns(frame, [*parameters, *used])
    columns |= {name: [convert_field(name, value) for value in columns[name]] for name in used}

    def fields(values: Sequence[Any]) -> Mapping[str, Any]:
        row = dict(zip(columns, values, strict=True))
        own = {name: row[name] for name in used if row[name] is not None}
        return {**shared, **own} if template is None else {**shared, **own, "command": template.fill(row)}

    return map(fields, _iter_rows(frame, columns))


def convert_field(name: str, value: Any) -> Any:
    """Convert a value of a frame for a field; integers in a column with missing values became floats."""
    if name in _INTEGER_FIELDS and isinstance(value, float) and value.is_integer():
        return int(value)
    if name in _NAME_FIELDS and (type(value) is int or (isinstance(value, float) and value.is_integer())):
        return str(int(value))
    return to_python(value)


def _labels(frame: Any) -> list[str | None]:
    """Return the names of the columns; None for one that is not a string."""
    return [label if isinstance(label, str) else None for label in frame.columns]


def _columns(frame: Any, names: Iterable[str]) -> dict[str, list[Any]]:
    """Return columns (or levels of the index) as lists of scalars, with None for missing values."""
    found = {}
    labels = _labels(frame)
    for name in names:
        if (count := labels.count(name)) > 1:
            raise BadInput(f"the DataFrame has {count} columns {name!r}; rename one")
        if not count and name not in frame.index.names:
            raise BadInput(f"the DataFrame has no column {name!r}: it is needed for the command")
        values = frame.iloc[:, labels.index(name)] if count else frame.index.get_level_values(name)
        # converted to a Python float, a float32 gets extra digits; the NumPy scalar prints as it was written
        exact = getattr(values.dtype, "kind", "O") != "f" or getattr(values.dtype, "itemsize", 8) == 8
        scalars = values.tolist() if exact else list(values.array)
        gone = values.isna()
        found[name] = (
            [None if each else value for value, each in zip(scalars, gone, strict=True)] if gone.any() else scalars
        )
    return found


def _iter_rows(frame: Any, columns: Mapping[str, Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Return an iterator of the rows of some columns; without columns, of empty rows."""
    return zip(*columns.values(), strict=True) if columns else iter([()] * len(frame))


def frame_rows(frame: Any) -> Iterator[dict[str, Any]]:
    """Return the rows of a frame as keywords; its columns must be named by strings."""
    names = list(frame.columns)
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            msg = f"the columns of the DataFrame must be names of parameters, not {name!r}"
            raise BadInput(msg)
    columns = [[value.item() if hasattr(value, "item") else value for value in frame[name]] for name in names]
    return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
