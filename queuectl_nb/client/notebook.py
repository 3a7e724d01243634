"""Notebooks as jobs: their parameters, and the specs of their jobs."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.arguments import to_python
from queuectl_nb.client.bulk_rows import convert_field, frame_rows, is_frame
from queuectl_nb.client.function import Call, call_text
from queuectl_nb.client.notebook_file import TAG, Notebook, read_notebook
from queuectl_nb.client.payload import Content, PayloadWriter, make_python_spec
from queuectl_nb.client.task import JOB_OPTIONS
from queuectl_nb.model.call import Kind
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.keys import canonical
from queuectl_nb.model.validation import parse_choice, quoted

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.job import JobSpec

__all__ = ["check_parameters", "make_notebook_specs", "parse_parameters"]

MAX_PARAMETERS_CHARS = 1024 * 1024
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
_NAME = re.compile(r"[^\W\d]\w*(\.\w+)*\Z")


def make_notebook_specs(
    queue: Queue,
    path: str | os.PathLike[str],
    rows: Iterable[Mapping[str, Any]] | Any,
    parameters: Mapping[str, Any] | None,
    /,
    *,
    kernel: str | None,
    allow_unknown: bool,
    **options: Any,
) -> list[JobSpec]:
    """Return the specs of jobs that run the notebook file ``path``: one for each of ``rows``, or one if this is None.

    A row has parameters, which take precedence over ``parameters``, and fields of the job, which take precedence over
    ``options``. Raises what :func:`read_notebook` and :func:`check_parameters` raise.
    """
    for name in options:
        parse_choice("job option", name, JOB_OPTIONS)
    notebook = read_notebook(path, kernel)
    writer = PayloadWriter(queue.path)
    source = writer.share(Content(notebook.body))
    common = {"cwd": notebook.folder, **{key: value for key, value in options.items() if value is not None}}
    specs: list[JobSpec] = []
    for own, fields in [({}, {})] if rows is None else _split_rows(notebook, rows):
        try:
            text = check_parameters(notebook, {**(parameters or {}), **own}, allow_unknown=allow_unknown)
            specs.append(_make_spec(writer, notebook, source, text, {**common, **fields}))
        except BadInput as error:
            if rows is None:
                raise
            raise BadInput(f"row {len(specs) + 1}: {error}") from None
    return specs


def _make_spec(
    writer: PayloadWriter,
    notebook: Notebook,
    source: str,
    text: str,
    fields: Mapping[str, Any],
) -> JobSpec:
    writer.begin()
    facts = {
        "source": source,
        "name": notebook.name if notebook.name.endswith(".ipynb") else f"{notebook.name}.ipynb",
        "parameters": text,
        "kernel": notebook.kernel,
        "kernel_dir": notebook.kernel_dir,
        "language": notebook.language,
    }
    payload = writer.finish({"notebook": facts, "preload": ["papermill"]})
    parameters = json.loads(text)
    command = call_text(notebook.name, [Call((), parameters)]).removesuffix("()")
    spec = make_python_spec(Kind.NOTEBOOK, command, payload, fields)
    work = f"{notebook.name}\n{notebook.kernel}\n{canonical(parameters)}"
    return spec._replace(identity=(work, source[:8]))


def _split_rows(
    notebook: Notebook, rows: Iterable[Mapping[str, Any]] | Any
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield parameters and job fields of each row; a field that is a parameter of the notebook is only that."""
    fields = frozenset(JOB_OPTIONS) - (notebook.parameters or frozenset())
    if not is_frame(rows) and (isinstance(rows, Mapping) or not isinstance(rows, Iterable)):
        raise BadInput(f"the rows must be a DataFrame or a list of dicts, not {quoted(rows)}")
    for number, row in enumerate(frame_rows(rows) if is_frame(rows) else rows, 1):
        if not isinstance(row, Mapping):
            raise BadInput(f"row {number} must be a dict of parameters, not {quoted(row)}")
        own = {key: convert_field(key, row[key]) for key in row if key in fields}
        yield (
            {key: row[key] for key in row if key not in fields},
            {key: value for key, value in own.items() if value is not None and value == value},  # noqa: PLR0124 - NaN
        )


def check_parameters(notebook: Notebook, parameters: Mapping[str, Any], *, allow_unknown: bool = False) -> str:
    """Return parameters as JSON, in which NaN and infinities are written as Python does.

    Raises
    ------
    BadInput
        A name is not in the parameters cell, or a value cannot be a parameter; the message names it.
    """
    if not isinstance(parameters, Mapping):
        raise BadInput(f"parameters must be a dict, not {quoted(parameters)}")
    plain: dict[str, Any] = {}
    for name, value in parameters.items():
        _check_name(notebook, name, allow_unknown=allow_unknown)
        try:
            plain[name] = _plain(value)
        except (TypeError, ValueError) as error:
            raise BadInput(f"parameter {name} {error}") from None
        except RecursionError:
            raise BadInput(f"parameter {name} is nested too deeply") from None
    try:
        text = json.dumps(plain)
    except ValueError:  # an int with thousands of digits
        raise BadInput("a parameter is a number with too many digits") from None
    if len(text) > MAX_PARAMETERS_CHARS:
        limit = f"{MAX_PARAMETERS_CHARS:,} characters at most"
        raise BadInput(f"the parameters are too large: {limit}; write the data to a file and pass its path")
    if plain and not notebook.is_python:
        _check_translation(notebook, plain)
    return text


def _check_name(notebook: Notebook, name: object, *, allow_unknown: bool) -> None:
    if not isinstance(name, str) or not _NAME.match(name) or (notebook.is_python and not name.isidentifier()):
        raise BadInput(f"a parameter is a name, not {quoted(name)}")
    if notebook.is_python and keyword.iskeyword(name):
        raise BadInput(f"parameter {name} is a keyword of Python; rename it")
    if allow_unknown:
        return
    if notebook.parameters is None:
        remedy = f"add the tag {TAG!r} to the cell with their default values, or allow_unknown=True"
        error = BadInput(f"{quoted(notebook.name)} has no cell for parameters; {remedy}")
        raise error.with_option("allow_unknown=True", "--allow-unknown")
    if notebook.is_python:
        parse_choice(f"parameter of {notebook.name},", name, sorted(notebook.parameters))


def _plain(value: object) -> Any:
    """Return a value as JSON has it, with NaN; raise TypeError or ValueError if that would change it."""
    found = to_python(value)
    if found is None or isinstance(found, bool | int | float):
        return found
    if isinstance(found, str):
        try:
            found.encode()
        except UnicodeEncodeError:
            raise ValueError("is not valid Unicode") from None
        return found
    if isinstance(found, list | tuple):
        return [_plain(each) for each in found]
    if isinstance(found, dict) and all(isinstance(key, str) for key in found):
        return {key: _plain(each) for key, each in found.items()}
    what = "dict with keys that are not strings" if isinstance(found, dict) else type(found).__name__
    raise TypeError(f"is or contains a {what}; valid: None, bool, int, float, str, and lists and dicts of these")


def _check_translation(notebook: Notebook, parameters: Mapping[str, Any]) -> None:
    """Raise BadInput if papermill cannot write these values in the language of the notebook."""
    from papermill.translators import translate_parameters

    try:
        translate_parameters(notebook.kernel, notebook.language, parameters)
    except Exception as error:
        raise BadInput(f"parameters for {notebook.language}: {' '.join(str(error).split())}") from error


def parse_parameters(typed: Iterable[str], raw: Iterable[str]) -> dict[str, Any]:
    """Return parameters from ``K=V``: ``typed`` as ``papermill -p`` does, and as JSON's constants; ``raw`` as text."""
    found: dict[str, Any] = {}
    for words, parse in ((typed, _parse_value), (raw, str)):
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise BadInput(f"a parameter is given as NAME=VALUE, not {quoted(word)}")
            if name in found:
                raise BadInput(f"parameter {name} is given twice")
            found[name] = parse(value)
    return found


def _parse_value(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    for parse in (int, float):
        try:
            return parse(text)
        except ValueError:
            continue
    return text
