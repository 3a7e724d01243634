"""How a notebook shows our DataFrames: commands as people wrote them and never as formulas, metrics as a card."""

from __future__ import annotations

import re
from collections.abc import Hashable

import pandas as pd

from queuectl_nb.model.displayed_command import displayed_command
from queuectl_nb.render.card_parts import frame as card_frame
from queuectl_nb.render.card_parts import heading, table
from queuectl_nb.render.output_cell import kernel_shell
from queuectl_nb.render.progress import format_duration

__all__ = ["frame_html", "mark"]

MAX_SHOWN_ROWS = 1000
"""Rows at each end of a frame whose commands are converted; by default pandas shows 60."""
PANDAS_CELL_CHARS = 50
"""Characters of a value that pandas shows by default."""
TEXT_CHARS = 160
"""Characters of errors, lines of logs and explanations that are shown, unless the user has set another number."""
KIND = "queuectl"
"""Attribute of our frames; those that are derived from them keep it."""
TITLES = {
    "avg_duration_s": "average run time",
    "run_s_p50": "median run time",
    "run_s_p95": "95th percentile run time",
    "wait_s_p50": "median wait",
    "wait_s_p95": "95th percentile wait",
    "per_minute": "completed per minute",
    "cpu_s": "CPU time",
    "max_rss_bytes": "peak memory",
}


def mark(frame: pd.DataFrame, kind: str = "rows") -> pd.DataFrame:
    """Return a frame that a notebook shows by :func:`frame_html`; ``kind`` is ``rows``, ``texts`` or ``stats``."""
    frame.attrs[KIND] = kind
    if shell := kernel_shell():
        shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, frame_html)
    return frame


def frame_html(frame: pd.DataFrame) -> str | None:
    """Return a frame as HTML; frames that are not of a queue as pandas renders them."""
    kind = frame.attrs.get(KIND)
    if kind == "stats" and len(frame) == 1 and pd.get_option("display.notebook_repr_html"):
        facts = [(_title(name), _value(name, value)) for name, value in frame.iloc[0].items() if not pd.isna(value)]
        return card_frame([heading("Metrics"), table((), facts, state_column=-1)]).html
    if kind is None:
        html: str | None = frame._repr_html_()  # type: ignore[operator]
        return html
    if "command" in frame.columns:
        commands = frame["command"].to_numpy(dtype=object, copy=True)
        for rows in (slice(MAX_SHOWN_ROWS), slice(-MAX_SHOWN_ROWS, None)):
            commands[rows] = [displayed_command(x) if isinstance(x, str) else x for x in commands[rows]]
        frame = frame.assign(command=commands)
    chars = pd.get_option("display.max_colwidth")
    chars = TEXT_CHARS if kind == "texts" and chars == PANDAS_CELL_CHARS else chars
    # MathJax would read "$A and $B" as a formula
    with pd.option_context("display.html.use_mathjax", False, "display.max_colwidth", chars):
        shown: str | None = frame._repr_html_()  # type: ignore[operator]
    if shown:
        # pandas 2 has the class of MathJax 2 only
        shown = shown.replace('tex2jax_ignore"', 'tex2jax_ignore mathjax_ignore"', 1)
        shown = shown.replace("<th>", '<th style="white-space: nowrap">')  # an id has hyphens
        shown = re.sub(r"(?<=\w),(?=\w)", ",<wbr>", shown)  # a long list of names may be broken
    return shown


def _title(name: Hashable) -> str:
    text = str(name)
    return TITLES.get(text) or text.removeprefix("counts_").replace("_", " ")


def _value(name: Hashable, value: float) -> object:
    text = str(name)
    if text.endswith(("_s", "_s_p50", "_s_p95")):
        return format_duration(float(value))
    if text.endswith("_bytes"):
        return f"{value / 2**20:.0f} MiB"
    return f"{value:.4g}" if isinstance(value, float) else value
