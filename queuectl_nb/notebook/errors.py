"""Errors in a cell: ordinary exceptions, so that "Run All" and test runners stop, shown as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from queuectl_nb.client.hints import CONSOLE, MAGIC
from queuectl_nb.commands.app import describe_usage_error
from queuectl_nb.model.errors import BadEnvironment, BadInput, JobFailed, QueuectlError
from queuectl_nb.render import text_table
from queuectl_nb.store.os_errors import OPEN_FILES_ERRNOS, describe_os_error

__all__ = ["as_magic", "one_line", "one_line_errors"]

E = TypeVar("E", bound=BaseException)


def one_line(error: E, text: str | None = None) -> E:
    """Make IPython show ``error`` as one line, with ``text`` instead of its message; return it."""
    line = f"{type(error).__name__}: {text_table.one_line(text or _message(error))}"
    # IPython reads this from the instance; the class stays the one that `except` clauses name
    error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]
    return error


def _message(error: BaseException) -> str:
    if isinstance(error, JobFailed) or not isinstance(error, QueuectlError):
        return str(error)  # of a job, the text is its own
    return as_magic(error.console)


def as_magic(message: str) -> str:
    """Return a message with the commands that it quotes as a notebook takes them.

    >>> as_magic("no job x; see 'queuectl list'")
    "no job x; see '%queuectl list'"
    """
    return message.replace(f"'{CONSOLE} ", f"'{MAGIC} ")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn expected errors of a command into one-line errors; bugs keep their traceback."""
    try:
        yield
    except QueuectlError as error:
        raise one_line(error) from None
    except click.exceptions.Exit:
        return
    except click.ClickException as error:
        raise one_line(BadInput(describe_usage_error(error))) from None
    except click.Abort:
        raise one_line(KeyboardInterrupt(), "interrupted") from None
    except OSError as error:
        if error.filename is None and error.errno not in OPEN_FILES_ERRNOS:
            raise
        raise one_line(BadEnvironment(describe_os_error(error))) from None
