"""Job output and its escape sequences: a filter that is safe for terminals, and the conversion to HTML."""

from __future__ import annotations

import codecs
import re
from html import escape

from queuectl_nb.model.escape_sequences import CONTROL, SEQUENCE, STRINGS

__all__ = ["RESET", "AnsiFilter", "fold_returns", "strip_colours", "to_html"]

RESET = "\x1b[0m"
"""Resets all colours of a terminal."""
MAX_HELD_CHARS = 4096
"""An unfinished escape sequence up to this length is held back until the rest arrives."""

_UNFINISHED = re.compile(f"(?:\x1b|(?:\x1b\\[|\x9b)[0-?]*[ -/]*|\x1b[ -/]+|\r|{STRINGS}\x1b?)\\Z")
_SGR = re.compile("\x1b\\[([0-9;:]*)m")
_ATTRIBUTES = {1: "bold", 2: "dim", 3: "italic", 4: "under", 7: "inverse", 9: "struck"}
_ATTRIBUTE_RESETS = {22: (1, 2), 23: (3,), 24: (4,), 27: (7,), 29: (9,)}
_COLOUR_VALUES = {5: 1, 2: 3}
"""Numbers that follow 38 and 48 and one of these keys: a palette index, or red, green and blue."""
_CSS = {"fg": "color", "bg": "background-color"}
_MAX_DIGITS = 4


class AnsiFilter:
    """Removes everything but text and SGR colours from one stream, fed in chunks of any size."""

    def __init__(self, *, keep_colours: bool = True, keep_returns: bool = False) -> None:
        """Drop colours unless ``keep_colours``; turn carriage returns into newlines unless ``keep_returns``."""
        self._keep_colours = keep_colours
        self._keep_returns = keep_returns
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._coloured = False

    def feed(self, data: bytes) -> str:
        """Return the text that can be shown now."""
        text = self._held + self._decoder.decode(data)
        self._held = ""
        if not CONTROL.search(text):
            return text
        unfinished = _UNFINISHED.search(text)
        if unfinished and len(unfinished[0]) <= MAX_HELD_CHARS:
            self._held = unfinished[0]
            text = text[: unfinished.start()]
        return SEQUENCE.sub(self._replace, text)

    def close(self) -> str:
        """Return the held text and reset the colours; the filter can be fed again."""
        text, self._held = self._held, ""
        text = SEQUENCE.sub(self._replace, text + self._decoder.decode(b"", final=True))
        self._decoder.reset()
        if self._coloured:
            self._coloured = False
            text += RESET
        return text

    def _replace(self, match: re.Match[str]) -> str:
        if match["line"]:
            return "\r" if self._keep_returns and match["line"] == "\r" else "\n"
        if match["sgr"] and self._keep_colours:
            self._coloured = True
            return match["sgr"]
        return ""


def fold_returns(raw: bytes) -> str:
    r"""Return output as text with colours and no other escapes; of a line overwritten after ``\r``, the last state.

    >>> fold_returns(b"loading\n 40%\r 50%\r")
    'loading\n 50%'
    """
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    ansi = AnsiFilter()
    return ansi.feed(b"\n".join(line.rstrip(b"\r").rpartition(b"\r")[2] for line in lines)) + ansi.close()


class _Style:
    """The current colours and attributes."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.attributes: set[int] = set()
        self.colours: dict[str, int | str | None] = {"fg": None, "bg": None}

    def apply(self, codes: list[int]) -> None:
        """Apply the parameters of one SGR sequence."""
        position = 0
        while position < len(codes):
            code = codes[position]
            if code in (38, 48):
                kind = codes[position + 1] if position + 1 < len(codes) else 0
                end = position + 2 + _COLOUR_VALUES.get(kind, -1)
                self.colours["fg" if code == 38 else "bg"] = _colour(kind, codes[position + 2 : end])
                position = end - 1
            else:
                self._apply_code(code)
            position += 1

    def _apply_code(self, code: int) -> None:
        tens, unit = divmod(code, 10)
        if code == 0:
            self.reset()
        elif code in _ATTRIBUTES:
            self.attributes.add(code)
        elif code in _ATTRIBUTE_RESETS:
            self.attributes.difference_update(_ATTRIBUTE_RESETS[code])
        elif code in (39, 49):
            self.colours["fg" if code == 39 else "bg"] = None
        elif tens in (3, 4, 9, 10) and unit < 8:
            self.colours["fg" if tens in (3, 9) else "bg"] = unit + (8 if tens > 4 else 0)

    @property
    def classes(self) -> str:
        names = [f"qc-{_ATTRIBUTES[code]}" for code in sorted(self.attributes)]
        names += [f"qc-{ground}{colour}" for ground, colour in self.colours.items() if isinstance(colour, int)]
        return " ".join(names)

    @property
    def css(self) -> str:
        """Colours that have no class. On a background of these, text without one is black or white, in every theme."""
        colours = {ground: each for ground, each in self.colours.items() if isinstance(each, str)}
        if "bg" in colours and "fg" not in colours:
            colours["fg"] = _readable_on(colours["bg"])
        return "; ".join(f"{_CSS[ground]}: {colour}" for ground, colour in colours.items())


def _readable_on(background: str) -> str:
    """Return black or white, whichever has the higher contrast as WCAG 2 defines it.

    >>> _readable_on("rgb(95, 0, 0)"), _readable_on("rgb(255, 0, 0)"), _readable_on("rgb(250, 240, 200)")
    ('white', 'black', 'black')
    """
    red, green, blue = (int(each) / 255 for each in re.findall(r"\d+", background))
    return "black" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.179 else "white"


def _colour(kind: int, values: list[int]) -> int | str | None:
    """Return a colour as CSS, or the index of one of the 16 that have a class.

    >>> _colour(5, [9]), _colour(5, [208]), _colour(5, [250]), _colour(2, [1, 2, 3]), _colour(5, [256])
    (9, 'rgb(255, 135, 0)', 'rgb(188, 188, 188)', 'rgb(1, 2, 3)', None)
    """
    if len(values) != _COLOUR_VALUES.get(kind) or max(values) > 255:
        return None
    if kind == 5:
        (index,) = values
        if index < 16:
            return index
        from rich.color import Color  # only for such colours

        values = [*Color.from_ansi(index).get_truecolor()]
    return f"rgb({', '.join(map(str, values))})"


def _codes(parameter: str) -> list[int]:
    """Return the numbers of one SGR parameter: empty means 0; colons separate those of a colour."""
    first, *rest = (int(each[:_MAX_DIGITS] or 0) for each in parameter.split(":"))
    return [first, rest[0], *rest[1:][-3:]] if rest and first in (38, 48) else [first]


def strip_colours(text: str) -> str:
    """Return filtered text without colours."""
    return _SGR.sub("", text)


def to_html(text: str) -> str:
    r"""Return filtered text as HTML, with classes for attributes and the 16 basic colours, and styles for others.

    >>> to_html("\x1b[31m<b>\x1b[38;5;208mx\x1b[0m")
    '<span class="qc-fg1">&lt;b&gt;</span><span style="color: rgb(255, 135, 0)">x</span>'
    """
    style = _Style()
    parts: list[str] = []
    end = 0
    for match in [*_SGR.finditer(text), None]:
        piece = text[end : match.start() if match else None]
        if piece:
            given = {"class": style.classes, "style": style.css}
            attributes = "".join(f' {name}="{value}"' for name, value in given.items() if value)
            parts.append(f"<span{attributes}>{escape(piece)}</span>" if attributes else escape(piece))
        if match:
            end = match.end()
            style.apply([code for parameter in match[1].split(";") for code in _codes(parameter)])
    return "".join(parts)
