"""A picture below a cell, or in the file that was named."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from queuectl_nb.client.display import has_frontend
from queuectl_nb.model.errors import BadInput
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from queuectl_nb.commands.results import Plotted

__all__ = ["show"]

ALT = "How many attempts ended per minute, when each worker was busy, and how long commands ran"


def show(result: Plotted) -> None:
    """Draw; a terminal, which shows no pictures, is told to name a file."""
    from queuectl_nb.render.plots import files

    if result.path:
        files.write(result.figure, result.path)
        sys.stderr.write(f"queuectl: the picture is in {visible(result.path)}\n")
        return
    if not has_frontend():
        msg = "a terminal shows no pictures; name a file, such as --plot stats.png"
        raise BadInput(msg)
    from IPython.display import Image, display

    data = files.png(result.figure())
    display(Image(data=data, format="png", retina=True, alt=ALT))  # type: ignore[no-untyped-call]
