"""What is recognized as an escape sequence or a control character."""

from __future__ import annotations

import pytest

from queuectl_nb.model.escape_sequences import CONTROL, SEQUENCE


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("\x1b[m", "sgr"),
        ("\x1b[1;38:5:9m", "sgr"),
        ("\r\n", "line"),
        ("\r", "line"),
        ("\x1b[2K", None),
        ("\x9b?25l", None),
        ("\x1b[1 q", None),
        ("\x1b[?1m", None),
        ("\x1b]0;title\x07", None),
        ("\x1b]8;;https://example.org\x1b\\", None),
        ("\x9d52;c;cHduZWQ=\x9c", None),
        ("\x1bPq#0\x1b\\", None),
        ("\x1bXtext\x1b\\", None),
        ("\x1b^text\x9c", None),
        ("\x1b_text\x07", None),
        ("\x90q\x07", None),
        ("\x98text\x9c", None),
        ("\x9etext\x9c", None),
        ("\x9ftext\x9c", None),
        ("\x1bM", None),
        ("\x1b(B", None),
        ("\x1bc", None),
        ("\x1b", None),
        ("\x00", None),
        ("\x7f", None),
        ("\x85", None),
        ("\u202e", None),
        ("\u2069", None),
    ],
    ids=ascii,
)
def test_sequences(text: str, group: str | None) -> None:
    """Each is one match, of which nothing is left; the text around it is."""
    found = SEQUENCE.match(text)
    assert found is not None
    assert (found.group(), found.lastgroup) == (text, group)
    assert SEQUENCE.sub("", f"a{text}é") == "aé"


def test_text_is_not_a_sequence() -> None:
    """Tabs, newlines and printable characters are kept."""
    text = "\tcafé [1m ]0; M\n🐍\u200d"
    assert SEQUENCE.sub("", text) == CONTROL.sub("", text) == text


def test_an_incomplete_string_ends_at_the_next_sequence() -> None:
    """The text of a title without an end is not hidden with what follows."""
    assert SEQUENCE.sub("", "\x1b]0;title\x1b[2Kmore") == "]0;titlemore"
