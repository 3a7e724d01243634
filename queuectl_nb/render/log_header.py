"""The frame in which people know a job's log: the seed's words, the same on a console and as text in a cell."""

from __future__ import annotations

from queuectl_nb.render.text_table import visible

__all__ = ["EMPTY", "RULE", "header_lines", "status_lines", "stream_heading"]

RULE = "---------------------------------"
EMPTY = "(empty)"


def header_lines(job_id: str, state: str, number: int | None = None, error: str | None = None) -> list[str]:
    """Return the lines between the first two rules; of an attempt its ``number``, where one was asked for.

    >>> opening("a", "dead", error="exit code 3")
    ['Logs for Job: a', 'State: dead', 'Error: exit code 3']
    """
    state_line, *error_line = status_lines(state, error)
    return [f"Logs for Job: {job_id}", state_line, *([] if number is None else [f"Attempt: {number}"]), *error_line]


def status_lines(state: str, error: str | None) -> list[str]:
    """Return the lines that say how a job stands."""
    return [f"State: {state}", *([] if error is None else [f"Error: {visible(error)}"])]


def stream_heading(name: str) -> str:
    """Return the heading of a stream, with the empty line above it."""
    return f"\n--- {name.upper()} ---"
