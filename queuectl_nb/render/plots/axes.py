"""Axes to draw on, what all pictures have in common, and the colours of outcomes.

The colours are told apart by colour-blind people and stand out from white and from dark paper alike; where two come
close a hatch tells them apart as well (tests/render/test_plots.py computes it). All else follows the user's own
matplotlib style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.attempt_history import RUNNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = [
    "LOOKS",
    "Look",
    "axes",
    "boxes",
    "clock_axis",
    "days",
    "legend",
    "nothing",
    "outcome_looks",
    "require",
    "shorten",
    "tidy",
]


class Look(NamedTuple):
    """How an outcome is drawn."""

    name: str
    colour: str
    hatch: str = ""


LOOKS = {
    "succeeded": Look("succeeded", "#2b7bba"),
    "failed": Look("failed", "#d55e00"),
    "timed_out": Look("timed out", "#a8801c", "////"),
    "lost": Look("lost", "#9a3fe0", "xxxx"),
    "cancelled": Look("cancelled", "#808080"),
    "returned": Look("given back", "#808080", "...."),
    "not_started": Look("not started", "#1c8f77", "\\\\\\\\"),
    RUNNING: Look("running", "#2b7bba", "//"),
}
"""In the order of the legend."""

WIDE = 9.0
"""Inches of a picture of its own."""
_LONGEST = 38


def require() -> None:
    """Raise :class:`BadEnvironment` where matplotlib is not installed."""
    try:
        import matplotlib as mpl  # noqa: F401 - an extra
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        msg = "pictures need matplotlib, which is not installed here: pip install 'queuectl-nb[plot]'"
        raise BadEnvironment(msg) from None


def axes(ax: Axes | None, high: float) -> Axes:
    """Return the user's axes, or those of a new figure ``high`` inches high."""
    require()
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(WIDE, high), layout="constrained")[1]


def tidy(ax: Axes, title: str, note: str = "", *, grid: str = "x") -> None:
    """Give a picture its title, a note at the right, and a quiet frame."""
    ax.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    if note:
        ax.set_title(note, loc="right", fontsize="small", alpha=0.8)
    for side in ("top", "right", "left" if grid == "x" else "top"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(axis=grid, alpha=0.3, linewidth=0.8)  # type: ignore[arg-type]  # x or y
    ax.tick_params(axis="y" if grid == "x" else "x", length=0 if grid == "x" else 3)


def legend(ax: Axes, outcomes: Iterable[str], aside: float = 0.0, *, hatched: bool = True) -> None:
    """Tell what the colours mean, beside the picture; ``aside`` inches are left for what stands there already."""
    from matplotlib.patches import Patch
    from matplotlib.transforms import ScaledTranslation

    there = set(outcomes)
    patches = [
        Patch(
            facecolor="none" if name == RUNNING else look.colour,
            edgecolor=look.colour if name == RUNNING else ax.get_facecolor(),
            hatch=look.hatch if hatched else "",
            linewidth=1 if name == RUNNING else 0,
            label=look.name,
        )
        for name, look in LOOKS.items()
        if name in there
    ]
    ax.legend(
        handles=patches,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        bbox_transform=ax.transAxes + ScaledTranslation(aside, 0, ax.figure.dpi_scale_trans),
        frameon=False,
        fontsize="small",
    )


def boxes(  # noqa: PLR0913 - what a box has
    ax: Axes,
    name: str,
    sides: tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]],
    place: int,
    edge: float | Sequence[float],
    *,
    hatched: bool = True,
) -> None:
    """Draw boxes (left, right, bottom, top) of an outcome, over those of a lower ``place``; what runs is hollow."""
    from matplotlib.collections import PolyCollection

    if not len(sides[0]):
        return
    left, right, low, high = sides
    corners = [np.stack(pair, axis=1) for pair in ((left, low), (right, low), (right, high), (left, high))]
    look = LOOKS[name]
    hollow = name == RUNNING
    ax.add_collection(
        PolyCollection(
            np.stack(corners, axis=1),  # type: ignore[arg-type]  # an array is taken, and is much faster
            facecolors="none" if hollow else look.colour,
            edgecolors=look.colour if hollow else ax.get_facecolor(),
            linewidths=1.0 if hollow else edge,
            hatch=look.hatch if hatched else "",
            zorder=2 + place / 10,
            label=look.name,
        ),
        autolim=False,
    )


def outcome_looks(outcomes: Sequence[str]) -> list[str]:
    """Return the outcomes in the order of the legend; a name that is none of ours comes last."""
    order = list(LOOKS)
    return sorted(outcomes, key=lambda name: order.index(name) if name in order else len(order))


def nothing(ax: Axes, title: str, text: str = "no attempts yet") -> Axes:
    """Say that there is nothing to draw."""
    ax.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_alpha(0.3)
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, alpha=0.7)
    return ax


def days(seconds: Iterable[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return epoch seconds as the days in which matplotlib counts."""
    import matplotlib.dates as mdates

    micros = (np.asarray(seconds, dtype="float64") * 1e6).astype("int64").astype("datetime64[us]")
    return np.asarray(mdates.date2num(micros), dtype="float64")  # type: ignore[no-untyped-call]


def clock_axis(ax: Axes, first: float, last: float) -> None:
    """Make the x axis one of local time, from epoch second ``first`` to ``last``."""
    import matplotlib.dates as mdates
    from dateutil.tz import tzlocal

    locator = mdates.AutoDateLocator(tz=tzlocal(), minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    formatter = mdates.ConciseDateFormatter(locator, tz=tzlocal())  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_formatter(formatter)
    margin = max((last - first) * 0.01, 0.005)
    low, high = days([first - margin, last + margin])
    ax.set_xlim(float(low), float(high))


def shorten(text: str) -> str:
    """Return a label of one line, its middle left out where it is long: two commands often differ at their end."""
    from queuectl_nb.render.text_table import visible

    line = visible(" ".join(text.split())).replace("$", r"\$")  # matplotlib takes dollars for formulas
    if len(line) <= _LONGEST:
        return line
    return f"{line[: _LONGEST // 2 - 1]}…{line[-_LONGEST // 2 :]}"
