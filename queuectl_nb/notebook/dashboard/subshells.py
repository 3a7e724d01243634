"""Buttons that work while a cell runs: a widget's messages are taken by the subshell that the page sends them to."""

from __future__ import annotations

from typing import Any

__all__ = ["hear_during_cells"]


def hear_during_cells(widget: Any) -> None:
    """Have the widget's messages handled where its page asks for.

    JupyterLab sends what its user does in a widget to a subshell, a thread of the kernel's that is free while a cell
    runs. ipykernel 7.4 sends it on to the loop that last wrote to the widget instead, for replies that something in
    that loop waits for. Nothing here waits for a reply, and the cell that made the widget would be that loop: all
    clicks would wait for its successors. Where there is no such detour, there is nothing to do.
    """
    comm: Any = widget.comm
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = _as_sent  # noqa: SLF001 - the one place that decides it


def _as_sent(_data: object, subshell: str | None) -> str | None:
    """Leave a message to the subshell that it was sent to."""
    return subshell
