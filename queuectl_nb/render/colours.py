"""What of a job's output may reach a terminal: text and SGR colours, nothing that moves, hides or commands."""

from __future__ import annotations

import codecs
import re

__all__ = ["RESET", "Colours"]

LONGEST = 4096
"""Characters of an unfinished escape sequence that are held back for its end."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_STRING_END = "(?:\x07|\x1b\\\\|\x9c)"
_SEQUENCE = re.compile(
    "(?P<sgr>\x1b\\[[0-9;:]*m)"
    "|(?P<line>\r\n?)"
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # other control sequences: moves, erases, modes
    f"|(?:\x1b[P\\]X^_]|[\x90\x9d\x98\x9e\x9f])[^\x07\x1b\x9c]*{_STRING_END}"  # strings: titles, links, clipboard
    "|\x1b[ -/]*[0-Z\\\\^-~]"  # two-character escapes
    f"|{_CONTROL.pattern}"
)
_UNFINISHED = re.compile(
    "(?:\x1b|(?:\x1b\\[|\x9b)[0-?]*[ -/]*|\x1b[ -/]+|\r"
    "|(?:\x1b[P\\]X^_]|[\x90\x9d\x98\x9e\x9f])[^\x07\x1b\x9c]*\x1b?)\\Z"
)
RESET = "\x1b[0m"
"""The terminal's own colours again."""


class Colours:
    """Filters one stream, piece by piece: a sequence or a character may be cut anywhere."""

    def __init__(self, *, keep: bool = True, returns: bool = False) -> None:
        """Keep colours, or drop those as well; ``returns`` keeps the carriage returns of progress bars."""
        self._keep = keep
        self._returns = returns
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._coloured = False

    def feed(self, data: bytes) -> str:
        """Return what of a piece may be shown now."""
        text = self._held + self._decoder.decode(data)
        self._held = ""
        if not _CONTROL.search(text):
            return text
        unfinished = _UNFINISHED.search(text)
        if unfinished and len(unfinished[0]) <= LONGEST:
            self._held = unfinished[0]
            text = text[: unfinished.start()]
        return self._clean(text)

    def close(self) -> str:
        """Return what was held back, and the end of the colours; more may follow."""
        text, self._held = self._held, ""
        text = self._clean(text + self._decoder.decode(b"", final=True))
        self._decoder.reset()
        if self._coloured:
            self._coloured = False
            text += RESET
        return text

    def _clean(self, text: str) -> str:
        return _SEQUENCE.sub(self._replace, text)

    def _replace(self, found: re.Match[str]) -> str:
        if found["line"]:
            return "\r" if self._returns and found["line"] == "\r" else "\n"
        if found["sgr"] and self._keep:
            self._coloured = True
            return found["sgr"]
        return ""
