"""Escape sequences and control characters in the output of jobs."""

from __future__ import annotations

import re

__all__ = ["CONTROL", "SEQUENCE", "STRINGS"]

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""A character that is never shown; a carriage return is one of them, tab and newline are not."""
STRINGS = "(?:\x1b[P\\]X^_]|[\x90\x9d\x98\x9e\x9f])[^\x07\x1b\x9c]*"
"""The beginning of a sequence that contains text: title, link, clipboard."""
SEQUENCE = re.compile(
    "(?P<sgr>\x1b\\[[0-9;:]*m)"
    "|(?P<line>\r\n?)"
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # other control sequences: cursor, erase, modes
    f"|{STRINGS}(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]*[0-Z\\\\^-~]"  # two-character escapes
    f"|{CONTROL.pattern}"
)
"""An escape sequence or control character: colours are ``sgr``, ends of lines ``line``."""
