"""The state diagram as SVG for the site, which loads no scripts. Code hosts render the Mermaid source instead.

Transitions shared by a group of states are drawn once, from the frame of the group. Drawing checks that the arrows are
exactly those of the transition table.
"""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from docs.generate.tables import label
from queuectl_nb.model.state import FINISHED_STATES, TRANSITIONS, UNFINISHED_STATES, State

__all__ = ["svg"]

WIDTH, HEIGHT = 860, 430
PLACES = {
    State.PENDING: (215, 130),
    State.PROCESSING: (465, 130),
    State.FAILED: (465, 300),
    State.BLOCKED: (215, 300),
    State.COMPLETED: (775, 120),
    State.DEAD: (775, 215),
    State.CANCELLED: (775, 310),
}
FRAMES = {"open": (100, 70, 455, 290), "finished": (705, 70, 140, 290)}
"""x, y, width, height."""


class Edge(NamedTuple):
    """An arrow along ``path`` with its label at ``at``, standing for the transitions ``transitions``."""

    transitions: frozenset[tuple[State, State]]
    path: str
    words: str
    at: tuple[int, int]
    anchor: str = "middle"


def _edge(old: State, new: State, path: str, at: tuple[int, int], anchor: str = "middle") -> Edge:
    words = (
        label(old, new)
        .replace("dependencies ", "dependencies|")
        .replace("failed, will", "failed,|will")
        .replace("claimed when", "claimed|when")
    )
    return Edge(frozenset({(old, new)}), path, words, at, anchor)


def edges() -> list[Edge]:
    """Return all arrows."""
    dependency = label(State.BLOCKED, State.CANCELLED)
    return [
        Edge(frozenset(), "M 34 130 H 157", "", (0, 0)),
        Edge(frozenset(), "M 34 300 H 157", "--after", (42, 290), "start"),
        _edge(State.PENDING, State.PROCESSING, "M 270 120 H 406", (338, 112)),
        _edge(State.PROCESSING, State.PENDING, "M 408 142 H 274", (338, 158)),
        _edge(State.PROCESSING, State.FAILED, "M 440 152 V 277", (434, 190), "end"),
        _edge(State.FAILED, State.PROCESSING, "M 482 279 V 154", (488, 224), "start"),
        _edge(State.FAILED, State.PENDING, "M 414 290 Q 290 260 246 155", (272, 244), "end"),
        _edge(State.BLOCKED, State.PENDING, "M 200 279 V 154", (194, 208), "end"),
        _edge(State.PENDING, State.BLOCKED, "M 230 154 V 277", (236, 268), "start"),
        _edge(State.FAILED, State.BLOCKED, "M 408 306 H 274", (338, 322)),
        _edge(State.PROCESSING, State.COMPLETED, "M 521 128 L 714 121", (630, 114)),
        _edge(State.PROCESSING, State.DEAD, "M 516 144 L 717 206", (636, 166)),
        Edge(
            frozenset((old, State.CANCELLED) for old in UNFINISHED_STATES),
            "M 555 316 H 716",
            f"cancel, or|{dependency.replace('dependency ', 'dependency|')}",
            (630, 278),
        ),
        Edge(
            frozenset((old, State.PENDING) for old in FINISHED_STATES),
            "M 775 70 V 45 Q 775 30 760 30 H 230 Q 215 30 215 45 V 105",
            "retry",
            (480, 22),
        ),
        Edge(
            frozenset((old, State.BLOCKED) for old in FINISHED_STATES),
            "M 775 360 V 385 Q 775 400 760 400 H 230 Q 215 400 215 385 V 325",
            "retry of a job with unfinished dependencies",
            (480, 418),
        ),
    ]


def svg() -> str:
    """Return the diagram in the colours of the surrounding page."""
    drawn = frozenset[tuple[State, State]]().union(*(edge.transitions for edge in edges()))
    table = frozenset((old, new) for old, news in TRANSITIONS.items() for new in news)
    if drawn != table:
        msg = f"the diagram and TRANSITIONS differ: {sorted(drawn ^ table)}; edit docs/generate/diagram.py"
        raise SystemExit(msg)
    style = 'role="img" class="states" font-family="sans-serif" font-size="13" fill="currentColor"'
    tip = 'viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {style}>',
        "<title>The states of a job and the transitions between them</title>",
        f'<defs><marker id="tip" {tip}><path d="M 0 0 L 10 5 L 0 10 z"/></marker></defs>',
        *(_frame(name, *place) for name, place in FRAMES.items()),
        '<circle cx="28" cy="130" r="6"/><circle cx="28" cy="300" r="6"/>',
        *map(_arrow, edges()),
        *(_box(state, *place) for state, place in PLACES.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _frame(name: str, x: int, y: int, width: int, height: int) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="none" stroke="currentColor"'
        f' stroke-opacity="0.35" stroke-dasharray="5 5"/>'
        f'<text x="{x + 10}" y="{y + 18}" fill-opacity="0.6" font-style="italic">{name}</text>'
    )


def _box(state: State, x: int, y: int) -> str:
    return (
        f'<rect x="{x - 55}" y="{y - 20}" width="110" height="40" rx="20" class="state {state}"'
        ' fill="none" stroke="currentColor" stroke-width="1.6"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle" font-weight="bold" font-size="14">{state}</text>'
    )


def _arrow(edge: Edge) -> str:
    path = f'<path d="{edge.path}" fill="none" stroke="currentColor" stroke-width="1.3" marker-end="url(#tip)"/>'
    x, y = edge.at
    lines = [
        f'<text x="{x}" y="{y + 15 * row}" text-anchor="{edge.anchor}">{escape(words)}</text>'
        for row, words in enumerate(edge.words.split("|"))
        if words
    ]
    return path + "".join(lines)
