"""The parts of cards, each as HTML and as plain text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

from queuectl_nb.render import js_bundle
from queuectl_nb.render.text_table import format_cell, table_lines, visible

__all__ = [
    "Html",
    "Rendering",
    "bar",
    "block",
    "card",
    "colour_python",
    "fill",
    "frame",
    "heading",
    "style",
    "style_element",
    "table",
]

_LIVE_SELECTOR, _CARD_SELECTOR = ".queuectl-ui", ":is(.queuectl, #qc)"
"""Scope of the palette in live views and in cards; cards.css explains the second."""
_COMMENT = re.compile(r"/\*.*?\*/\n*", re.DOTALL)
_SPACE = re.compile(r"\s*([{};,])\s*|(?<=:)\s+")


_TOKEN_CLASSES = (
    ("Comment", "qc-dim"),
    ("Keyword", "qc-fg5"),
    ("Literal.String", "qc-fg2"),
    ("Literal.Number", "qc-fg6"),
    ("Operator.Word", "qc-fg5"),
    ("Name.Decorator", "qc-fg3"),
)
"""Classes by kind of token, as Pygments names it."""
MAX_COLOURED_CHARS = 20_000
"""Longer source, which takes more than 100 ms, is not coloured."""
MAX_UNWRAPPED_CHARS = 32
"""Ids and times of a table are on one line."""
CACHED_SOURCES = 64
"""A live card is rendered again and again with the same source."""


class Html(str):
    """Text that is HTML already: :func:`fill` does not escape it."""

    __slots__ = ()


class Rendering(NamedTuple):
    """A card, or a part of one, as HTML and as plain text."""

    html: Html
    text: str


@cache
def _templates() -> dict[str, Template]:
    text = Path(__file__).with_name("templates.html").read_text("utf-8")
    _, *parts = re.split(r"^<!-- (\w+) -->\n", text, flags=re.MULTILINE)
    return {name: Template(text.strip()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def fill(name: str, /, **values: str) -> Html:
    """Fill a block of templates.html; values are escaped unless they are :class:`Html`."""
    safe = {key: value if isinstance(value, Html) else escape(visible(value)) for key, value in values.items()}
    return Html(_templates()[name].substitute(safe))


@cache
def style() -> Html:
    """Return the style sheet of a card: the palette and cards.css."""
    sheet = js_bundle.read_styles("palette.css").replace(_LIVE_SELECTOR, _CARD_SELECTOR)
    sheet = _COMMENT.sub("", sheet + js_bundle.read_styles("cards.css"))
    return Html(_SPACE.sub(lambda match: match[1] or "", sheet).strip())


@cache
def style_element() -> Html:
    """Return the style sheet as an element, with which each card begins."""
    return fill("style", sheet=style())


def frame(parts: Iterable[Rendering]) -> Rendering:
    """Return parts, one below the other, as a self-contained whole."""
    html, text = zip(*parts, strict=True)
    return Rendering(fill("frame", style=style_element(), body=Html("\n".join(html))), "\n".join(text))


def card(
    title: str,
    state: str,
    facts: Sequence[str],
    parts: Iterable[Rendering] = (),
    *,
    state_text: str = "",
    actions: Html | None = None,
) -> Rendering:
    """Return a card: title, state, facts and buttons in a line, and the parts below it."""
    text = state_text or state
    head = Rendering(
        fill(
            "head",
            title=title,
            state=fill("state", state=state, text=text),
            facts=Html(" ".join([*(fill("fact", text=fact) for fact in facts), *([actions] if actions else [])])),
        ),
        visible(", ".join([f"{title}: {text}", *facts])),
    )
    return frame([head, *(Rendering(part.html, textwrap.indent(part.text, "  ")) for part in parts)])


def heading(text: str) -> Rendering:
    """Return a line of text."""
    return Rendering(fill("heading", text=text), visible(text))


def block(kind: str, text: str, *, python: bool = False) -> Rendering:
    """Return text of several lines; hidden characters but newlines and tabs are shown as escapes.

    ``python`` colours it as Python source.
    """
    shown = re.sub(r"[^\n\t]+", lambda match: visible(match[0]), text)
    below = f"\n{textwrap.indent(shown, '  ')}" if "\n" in shown else f" {shown}"
    body = colour_python(shown) if python else escape(shown)
    return Rendering(fill("pre", kind=kind, text=Html(body)), f"{kind}:{below}")


def table(titles: Sequence[str], rows: Sequence[Sequence[object]], state_column: int) -> Rendering:
    """Return a table; cells of ``state_column`` have the colour of their state, and only long cells are wrapped."""
    lines = []
    for row in rows:
        cells = []
        for column, value in enumerate(row):
            text = format_cell(value)
            name = f"qc-is-{text}" if column == state_column else "qc-long" if len(text) > MAX_UNWRAPPED_CHARS else ""
            cells.append(f'<td class="{escape(name)}">{escape(text)}</td>' if name else f"<td>{escape(text)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = Html("".join(f"<th>{escape(title)}</th>" for title in titles))
    html = fill("table", titles=head, rows=Html("\n".join(lines)))
    return Rendering(html, "\n".join(table_lines(titles, rows)) if rows else "")


def bar(label: str, fraction: float, text: str, bad: float = 0.0, *, kind: str = "busy") -> Rendering:
    """Return a progress bar, with ``bad`` as a second fraction, and a text beside it."""
    filled = fill("bar", label=label, percent=f"{100 * fraction:.4g}", bad=f"{100 * bad:.4g}", kind=kind)
    return Rendering(fill("live", bar=filled, text=text), visible(text))


@lru_cache(CACHED_SOURCES)
def colour_python(source: str) -> str:
    """Return Python source, also an incomplete one, as HTML with a class for each kind of token.

    >>> colour_python("f('<b>', x=1)")
    '<span class="qc-fg4">f</span>(<span class="qc-fg2">&#x27;&lt;b&gt;&#x27;</span>, x=<span class="qc-fg6">1</span>)'
    """
    if len(source) > MAX_COLOURED_CHARS:
        return escape(source)
    from pygments.lexers.python import PythonLexer

    tokens = [(str(kind), text) for kind, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(source)]
    parts: list[str] = []
    last, pending = "", ""
    for (kind, text), (_, following) in zip(tokens, [*tokens[1:], ("", "")], strict=True):
        called = kind.startswith("Token.Name") and following.startswith("(")
        name = "qc-fg4" if called else next((css for key, css in _TOKEN_CLASSES if kind.startswith(f"Token.{key}")), "")
        if name != last:
            parts.append(_span(last, pending))
            last, pending = name, ""
        pending += text
    return "".join([*parts, _span(last, pending)])


def _span(name: str, text: str) -> str:
    return f'<span class="{name}">{escape(text)}</span>' if name and text else escape(text)
