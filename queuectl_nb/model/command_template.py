"""Command templates: ``{NAME}`` placeholders are filled so that the shell receives each value verbatim."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.shell_quoting import ShellReader
from queuectl_nb.model.validation import quoted

__all__ = ["CommandTemplate"]

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_RESERVED = frozenset(
    ["case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select", "then"]
).union(["time", "until", "while"])
"""Reserved words, which the shell interprets at the start of a command unless they are quoted."""


class _Value(NamedTuple):
    """A placeholder: the value's name, whether it is inserted unquoted, and whether it must always be quoted."""

    name: str
    raw: bool
    tight: bool


class CommandTemplate:
    r"""A command with placeholders.

    ``{NAME}`` is the value quoted for the shell, ``{NAME:raw}`` the unquoted value; ``{{`` and ``}}`` are braces.

    Raises
    ------
    BadInput
        Unbalanced braces, something other than a name between braces, or a quoted value where the shell would not
        read it as one word: inside quotes, backticks, a comment and so on. The message names a remedy.

    >>> CommandTemplate("echo {word} {{}}").fill({"word": "it's"})
    'echo \'it\'"\'"\'s\' {}'
    """

    def __init__(self, text: str) -> None:
        """Parse ``text``; refuse a template that cannot be filled safely."""
        self.text = text
        self._parts = _parts(text)
        self.names: tuple[str, ...] = tuple(
            dict.fromkeys(part.name for part in self._parts if isinstance(part, _Value))
        )
        """The distinct names of the placeholders, in order."""
        raws = [part for part in self._parts if isinstance(part, _Value) and part.raw]
        self._watched = bool(raws)
        self._check(dict.fromkeys((part.name for part in raws), ""))

    def check(self, valid: Iterable[str]) -> None:
        """Raise unless all names are in ``valid``; the message lists the valid ones."""
        known = list(valid)
        for name in self.names:
            if name not in known:
                there = ", ".join(known) or "none"
                raise BadInput(f"{{{name}}} in the command is unknown; valid: {there} (and {{{{ for a brace)")

    def fill(self, values: Mapping[str, object]) -> str:
        """Return the command filled with ``values``.

        Raises
        ------
        BadInput
            A value is missing or is not a single string or number, or an unquoted value opens quotes around another
            one.
        """
        texts = {name: _text(name, values[name]) for name in self.names if name in values}
        if len(texts) < len(self.names):
            self.check(values)
        if self._watched:
            self._check(texts)
        return "".join([part if isinstance(part, str) else _shell(part, texts[part.name]) for part in self._parts])

    def _check(self, raw: Mapping[str, str]) -> None:
        """Raise if the shell would not read a quoted value as one word; ``raw`` are the unquoted values."""
        reader = ShellReader()
        for part in self._parts:
            if isinstance(part, str):
                reader.read(part)
            elif part.raw:
                reader.read(raw[part.name])
            elif reader.trouble:
                raise BadInput(_refusal(part.name, reader.trouble))
            else:
                reader.value()


def _parts(text: str) -> list[str | _Value]:
    """Split a template into literal text and placeholders."""
    parts: list[str | _Value] = []
    literal = ""
    end = 0
    for token in _TOKEN.finditer(text):
        literal += text[end : token.start()]
        end = token.end()
        if token[0] in ("{{", "}}"):
            literal += token[0][0]
        elif token[1] is None:
            brace, position = token[0], token.start() + 1
            msg = f"the command has an unmatched {brace} at character {position}; write {brace * 2} for a brace"
            raise BadInput(msg)
        else:
            parts += [literal, _placeholder(token[1], text[end : end + 1])]
            literal = ""
    return [*parts, literal + text[end:]]


def _placeholder(inside: str, after: str) -> _Value:
    name, colon, form = inside.partition(":")
    what = f"{{{quoted(inside)[1:-1]}}} in the command"
    if not name.isidentifier():
        raise BadInput(f"{what} is not a plain name; write {{{{ and }}}} for braces themselves")
    if colon and form != "raw":
        valid = f"only {{{name}}} and {{{name}:raw}} are supported"
        raise BadInput(f"{what}: {valid}; format the value itself, or write {{{{ for a brace")
    # 2>file is not 2 >file: a number before a redirection must be quoted to stay a word
    return _Value(name, form == "raw", after in ("<", ">"))


def _text(name: str, value: object) -> str:
    """Return a value as text; raise if it is missing or a collection."""
    if isinstance(value, str):
        return value
    if value is None:
        raise BadInput(f"{{{name}}} has no value")
    if hasattr(value, "__len__"):
        raise BadInput(f"{{{name}}} is {type(value).__name__}, not a single text or number; turn it into text first")
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - of the value's own method
        raise BadInput(f"{{{name}}} is {type(value).__name__}, which cannot be text: {quoted(str(error))}") from None


def _shell(part: _Value, text: str) -> str:
    """Return a value quoted as one shell word, or as it is if raw."""
    if part.raw:
        return text
    quoted = shlex.quote(text)
    if quoted == text and (part.tight or "=" in text or text in _RESERVED):
        return f"'{text}'"
    return quoted


def _refusal(name: str, trouble: str) -> str:
    """Return the error message for a quoted value in a bad position."""
    remedies = {
        "is inside quotes": "remove the quotes, the value is quoted automatically",
        "follows a $": f"write ${{{{{name}}}}} for the shell's own, or remove the $",
        "follows a backslash": "remove the backslash",
    }
    remedy = remedies.get(trouble, "put it elsewhere")
    return f"{{{name}}} in the command {trouble}: {remedy}; or write {{{name}:raw}} to insert it unquoted"
