"""The filter for job output: text and colours pass, however the output is split into chunks."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl_nb.render.ansi import AnsiFilter

SGR = re.compile("\x1b\\[[0-9;:]*m")
WHOLE = (b"text ", b"\n", b"\t", b"\r\n", b"\x1b[31m", b"\x1b[1;38;5;200m", b"\x1b[0m", b"\x1b[2J", b"\x1bc", b"\x1b(B")
TORN = (b"\r", b"\x1b", b"\x1b[", b"3", b"m", b";", b"\x1b]0;title", b"\x07", b"\x1b\\", b"\x9c", b"\x1bP1$r", b"\xff")
UNICODE = (b"\xc2\x9b1A", b"\xc2\x9d8;;x", b"\xc2\x9c", b"\xe2\x80\xae", "é🐍".encode(), b"\x00", b"\x08", b"\x7f")
PARTS = st.sampled_from(WHOLE + TORN + UNICODE)


def filtered(*chunks: bytes, keep_colours: bool = True) -> str:
    """Return the filtered chunks."""
    ansi = AnsiFilter(keep_colours=keep_colours)
    return "".join(ansi.feed(chunk) for chunk in chunks) + ansi.close()


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain\n", "plain\n"),
        (b"\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n\x1b[0m"),
        (b"a\x1b]0;title\x07b", "ab"),
        (b"a\x1b]52;c;aGk=\x1b\\b", "ab"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"a\x1b[2J\x1b[1;1Hb", "ab"),
        (b"a\xc2\x9b2Jb", "ab"),
        (b"a\x1bcb\x1b(Bc\x1b7d", "abcd"),
        (b"50%\r100%\r\nend", "50%\n100%\nend"),
        (b"a\xe2\x80\xaeb\xe2\x81\xa6c", "abc"),
        (b"a\x00\x07\x08\x7fb", "ab"),
        (b"\xff\xc3", "\ufffd\ufffd"),
        (b"no end \x1b]0;title", "no end ]0;title"),
        (b"no end \x1b[31", "no end [31"),
        ("é 🐍 👩\u200d🔬".encode(), "é 🐍 👩\u200d🔬"),
    ],
)
def test_escapes_are_dropped_and_colours_kept(raw: bytes, shown: str) -> None:
    """Only text and colours pass; colours are reset at the end."""
    assert filtered(raw) == shown


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=12), st.lists(st.integers(0, 60), max_size=6))
def test_split_does_not_change_the_result(parts: list[bytes], cuts: list[int]) -> None:
    """Chunks may end anywhere, even inside a character or an escape sequence."""
    raw = b"".join(parts)
    places = sorted({0, len(raw), *(min(cut, len(raw)) for cut in cuts)})
    chunks = [raw[start:end] for start, end in pairwise(places)]
    assert filtered(*chunks) == filtered(raw)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(PARTS, st.binary(max_size=6)), max_size=12))
def test_only_colours_pass(parts: list[bytes]) -> None:
    """Apart from colours, the only control characters left are tab and newline."""
    left = SGR.sub("", filtered(*parts))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", left)
    assert "\x1b" not in filtered(*parts, keep_colours=False)


def test_unterminated_string_is_not_held_back() -> None:
    """A title of a megabyte is shown as text, not kept in memory."""
    ansi = AnsiFilter()
    shown = ansi.feed(b"\x1b]0;" + b"x" * 1_000_000)
    assert len(shown) >= 1_000_000
