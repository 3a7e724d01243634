"""What ``enqueue`` reads: JSON, within limits, and notebooks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import click

from queuectl_nb.commands.params import FILE, TextParam
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.validation import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.job import JobSpec

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_LINES",
    "MAX_LINE_BYTES",
    "NOTEBOOK_OPTIONS",
    "add_notebook_options",
    "notebook_spec",
    "parse_json",
    "parse_object",
    "read_lines",
]

F = TypeVar("F", bound="Callable[..., Any]")
NOTEBOOK_OPTIONS = ("notebook", "parameters", "raw_parameters", "kernel", "allow_unknown")
"""Names of the parameters that :func:`add_notebook_options` adds."""
MAX_LINES = 1_000_000
MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_FILE_BYTES = 1024 * 1024 * 1024
"""Limits of a file of jobs: all of them are in memory, to be added in one transaction."""


def add_notebook_options(function: F) -> F:
    """Add the options to a command."""
    for add in reversed(
        (
            click.option("--notebook", type=FILE, metavar="FILE", help="Notebook to run instead of a command."),
            click.option(
                "--parameter",
                "parameters",
                type=TextParam("K=V"),
                multiple=True,
                help="Parameter of --notebook, typed: 3, 0.5, true, null, or text; repeatable.",
            ),
            click.option(
                "--raw-parameter",
                "raw_parameters",
                type=TextParam("K=V"),
                multiple=True,
                help="Parameter of --notebook, as text; repeatable.",
            ),
            click.option("--kernel", type=TextParam("NAME"), help="Kernel for --notebook (default: its own)."),
            click.option("--allow-unknown", is_flag=True, help="Accept parameters that --notebook does not have."),
        )
    ):
        function = add(function)
    return function


def notebook_spec(queue: Queue, options: Mapping[str, Any], fields: Mapping[str, Any]) -> JobSpec | None:
    """Return the spec of a job that runs ``--notebook``, with the ``fields`` of the job; None without that option."""
    if options["notebook"] is None:
        if any(options.values()):
            raise BadInput("--parameter, --raw-parameter, --kernel and --allow-unknown are for --notebook FILE")
        return None
    from queuectl_nb.client.notebook import make_notebook_specs, parse_parameters

    if "shell" in fields:
        raise BadInput("--shell is for commands, not for --notebook")
    return make_notebook_specs(
        queue,
        options["notebook"],
        None,
        parse_parameters(options["parameters"], options["raw_parameters"]),
        kernel=options["kernel"],
        allow_unknown=options["allow_unknown"],
        **fields,
    )[0]


def read_lines(source: str) -> Iterator[bytes]:
    """Yield the lines of a file, or of standard input if ``source`` is ``-``; refuse what is too large."""
    left = MAX_FILE_BYTES
    try:
        with click.open_file(source, "rb") as file:
            for number in range(1, MAX_LINES + 2):
                line: bytes = file.readline(MAX_LINE_BYTES + 1)
                if not line:
                    return
                left -= len(line)
                if len(line) > MAX_LINE_BYTES:
                    raise BadInput(f"line {number} is longer than {MAX_LINE_BYTES:,} bytes; nothing was enqueued")
                if number > MAX_LINES or left < 0:
                    limits = f"{MAX_LINES:,} lines or {MAX_FILE_BYTES:,} bytes"
                    raise BadInput(f"{quoted(source)} has more than {limits}; split it; nothing was enqueued")
                yield line
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {quoted(source)}: {getattr(error, 'strerror', None) or error}") from None


def parse_object(text: str | bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object; refuse other values, duplicate keys, NaN and infinities."""
    return parse_json(text, what, dict, "object")  # type: ignore[no-any-return]


def parse_json(text: str | bytes, what: str, kind: type, name: str) -> Any:
    """Parse a JSON value of this ``kind``; refuse duplicate keys, NaN and infinities."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        found = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise BadInput(f"{what} is not valid UTF-8") from None
    except RecursionError:
        raise BadInput(f"{what} is nested too deeply") from None
    except ValueError as error:
        reason = "a number has too many digits" if "set_int_max_str_digits" in str(error) else error
        raise BadInput(f"{what} is not valid JSON: {reason}") from None
    if not isinstance(found, kind):
        raise BadInput(f"{what} is not a JSON {name}")
    return found


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadInput("a key occurs twice")
    return found


def _refuse_constant(word: str) -> float:
    raise BadInput(f"{word} is not a JSON number")
