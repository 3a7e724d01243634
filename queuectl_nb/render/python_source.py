"""Python source as HTML, with the colours of palette.css."""

from __future__ import annotations

from functools import lru_cache
from html import escape

__all__ = ["to_html"]

_CLASSES = (
    ("Comment", "qc-dim"),
    ("Keyword", "qc-fg5"),
    ("Literal.String", "qc-fg2"),
    ("Literal.Number", "qc-fg6"),
    ("Operator.Word", "qc-fg5"),
    ("Name.Decorator", "qc-fg3"),
)
"""Classes by kind of token, as Pygments names it."""
MAX_CHARS = 20_000
"""Longer source, which takes more than 100 ms, is not coloured."""
CACHED_SOURCES = 64
"""A live card is rendered again and again with the same source."""


@lru_cache(CACHED_SOURCES)
def to_html(source: str) -> str:
    """Return Python source, also an incomplete one, as HTML with a class for each kind of token.

    >>> to_html("f('<b>', x=1)")
    '<span class="qc-fg4">f</span>(<span class="qc-fg2">&#x27;&lt;b&gt;&#x27;</span>, x=<span class="qc-fg6">1</span>)'
    """
    if len(source) > MAX_CHARS:
        return escape(source)
    from pygments.lexers.python import PythonLexer

    tokens = [(str(kind), text) for kind, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(source)]
    parts: list[str] = []
    last, pending = "", ""
    for (kind, text), (_, following) in zip(tokens, [*tokens[1:], ("", "")], strict=True):
        called = kind.startswith("Token.Name") and following.startswith("(")
        name = "qc-fg4" if called else next((css for key, css in _CLASSES if kind.startswith(f"Token.{key}")), "")
        if name != last:
            parts.append(_span(last, pending))
            last, pending = name, ""
        pending += text
    return "".join([*parts, _span(last, pending)])


def _span(name: str, text: str) -> str:
    return f'<span class="{name}">{escape(text)}</span>' if name and text else escape(text)
