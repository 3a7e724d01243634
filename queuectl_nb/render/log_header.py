"""The header lines of a log, the same on the console and as text in a notebook."""

from __future__ import annotations

from queuectl_nb.render.text_table import visible

__all__ = ["EMPTY", "RULE", "header_lines", "status_lines", "stream_heading"]

RULE = "---------------------------------"
EMPTY = "(empty)"


def header_lines(job_id: str, state: str, number: int | None = None, error: str | None = None) -> list[str]:
    """Return the lines between the first two rules; ``number`` is the attempt, if one was requested.

    >>> header_lines("a", "dead", error="exit code 3")
    ['Logs for Job: a', 'State: dead', 'Error: exit code 3']
    """
    state_line, *error_line = status_lines(state, error)
    return [f"Logs for Job: {job_id}", state_line, *([] if number is None else [f"Attempt: {number}"]), *error_line]


def status_lines(state: str, error: str | None) -> list[str]:
    """Return state and error."""
    return [f"State: {state}", *([] if error is None else [f"Error: {visible(error)}"])]


def stream_heading(name: str) -> str:
    """Return the heading of a stream, after an empty line."""
    return f"\n--- {name.upper()} ---"
