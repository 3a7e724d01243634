"""Conversion of job output to HTML."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.render.ansi import AnsiFilter, to_html

HOSTILE = [
    "<script>alert(1)</script>",
    "</span></pre><img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)",
    "&lt;b&gt; & &amp;",
    "<!-- --><style>*{display:none}</style>",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_output_is_escaped(text: str) -> None:
    """Tags, quotes and entities are shown as text."""
    html = to_html(text)
    assert not re.search("[<>\"']", html)
    assert unescape(html) == text


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("\x1b[31mred\x1b[0m plain", '<span class="qc-fg1">red</span> plain'),
        ("\x1b[1;4;31mall\x1b[22;24;39mnone", '<span class="qc-bold qc-under qc-fg1">all</span>none'),
        ("\x1b[91;102mbright", '<span class="qc-fg9 qc-bg10">bright</span>'),
        ("\x1b[38;5;3mx", '<span class="qc-fg3">x</span>'),
        ("\x1b[48:5:3mx", '<span class="qc-bg3">x</span>'),
        ("\x1b[38;5;208;1mx", '<span class="qc-bold" style="color: rgb(255, 135, 0)">x</span>'),
        ("\x1b[48;2;1;31;3mx\x1b[49my", '<span style="background-color: rgb(1, 31, 3); color: white">x</span>y'),
        (
            "\x1b[31;48;5;230mx",
            '<span class="qc-fg1" style="background-color: rgb(255, 255, 215); color: black">x</span>',
        ),
        ("\x1b[38:2::1:31:3mx", '<span style="color: rgb(1, 31, 3)">x</span>'),
        ("\x1b[38:2:1:31:3;4mx", '<span class="qc-under" style="color: rgb(1, 31, 3)">x</span>'),
        ("\x1b[38;5;256mx\x1b[38;2;1;2;300mx\x1b[38;2;1mx", "xxx"),
        ("\x1b[31m\x1b[mx", "x"),
        ("\x1b[31;;1mx", '<span class="qc-bold">x</span>'),
        ("\x1b[4:3mx", '<span class="qc-under">x</span>'),
        ("\x1b[7mx\x1b[27my", '<span class="qc-inverse">x</span>y'),
        ("\x1b[31m", ""),
        ("\x1b[38;5mx\x1b[38mx", "xx"),
        ("\x1b[" + "9" * 9000 + "mx", "x"),
        ("\x1b[" + "1;" * 9000 + "31mx", '<span class="qc-bold qc-fg1">x</span>'),
        ("", ""),
    ],
)
def test_colours_become_classes(text: str, html: str) -> None:
    """Attributes and the 16 basic colours have classes, other colours a style; numbers of any length are handled."""
    assert to_html(text) == html


@given(st.binary(max_size=300))
def test_html_is_balanced(raw: bytes) -> None:
    """Any bytes, after the filter, become text in balanced spans."""
    ansi = AnsiFilter()
    html = to_html(ansi.feed(raw) + ansi.close())
    rest = re.sub(r'<span( class="(qc-[a-z0-9]+ ?)+")?( style="[-a-z0-9(),:; ]+")?>|</span>', "", html)
    assert not re.search("[<>\x1b]", rest)
    assert html.count("<span") == html.count("</span>")


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b]0;title\x07",
        "\x1b]52;c;ZXZpbA==\x1b\\",
        "\x1b]8;;http://evil.example\x1b\\",
        "\x1b[2J",
        "\x9b2J",
        "\x1bP0;1|17/ab\x9c",
        "\u202e",
        "\u2066",
        "\x00",
        "\x08",
    ],
)
def test_filter_removes_other_sequences(sequence: str) -> None:
    """Titles, links, clipboard, cursor movement, bidirectional controls and control characters never reach the HTML."""
    ansi = AnsiFilter()
    assert to_html(ansi.feed(f"a{sequence}b".encode()) + ansi.close()) == "ab"
