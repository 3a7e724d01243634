"""Pictures as files: PNG, SVG, PDF and what else matplotlib writes."""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadInput
from queuectl_nb.render.plots.axes import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

__all__ = ["png", "write"]

SHARP = 200
"""Dots an inch: twice what a page shows, for screens that have them."""


def write(draw: Callable[[], Figure], path: str) -> None:
    """Draw and write the picture to ``path``; raises :class:`BadInput` for a name that tells no known format."""
    require()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    known = FigureCanvasAgg.get_supported_filetypes()
    kind = PurePath(path).suffix.removeprefix(".").lower()
    if kind not in known:
        msg = f"--plot {path!a} tells no format that can be written; valid endings: {', '.join(sorted(known))}"
        raise BadInput(msg)
    draw().savefig(path, dpi=SHARP, format=kind)


def png(figure: Figure) -> bytes:
    """Return the picture as PNG."""
    page = io.BytesIO()
    figure.savefig(page, dpi=SHARP, format="png")
    return page.getvalue()
