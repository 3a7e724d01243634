"""Parses the line behind ``%queuectl`` and turns it, with the cell and variables, into command line arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from queuectl_nb.commands.app import ALIASES
from queuectl_nb.model.errors import BadInput
from queuectl_nb.notebook.python_cell import python_command

__all__ = ["CELL_VERBS", "MagicLine", "build_arguments", "parse_line", "verb_of"]

ROOT_OPTIONS_WITH_VALUE = ("--db",)
COMMAND_OPTIONS = ("--command", "--from", "--call", "--notebook", "--")
"""Other ways to give the command, not allowed together with a cell."""
CELL_VERBS = ("enqueue", "run")
"""The verbs of which the cell can be the command."""
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}:]*)(?::raw)?\}")


_EXPANSION = re.compile(r"\{[^\W\d][\w.\[\]'\"]*\}|\$\{?\w+\}?")


class MagicLine(NamedTuple):
    """A parsed line: arguments, variables named by ``--var``, and whether ``--python`` was given."""

    words: list[str]
    variables: list[str]
    python: bool


def parse_line(text: str) -> MagicLine:
    """Split a line as a shell would, without expansion, and extract ``--var`` and ``--python``."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"cannot parse the line: {str(error).lower()}") from None
    end = words.index("--") if "--" in words else len(words)
    kept: list[str] = []
    variables: list[str] = []
    python = False
    remaining = iter(words[:end])
    for word in remaining:
        if word == "--var":
            variables.append(next(remaining, ""))
        elif word.startswith("--var="):
            variables.append(word.removeprefix("--var="))
        elif word == "--python":
            python = True
        else:
            kept.append(word)
    return MagicLine(kept + words[end:], variables, python)


def verb_of(words: Sequence[str]) -> str | None:
    """Return the first argument that is not a root option: a verb or noun; for a short name, what it runs."""
    remaining = iter(words)
    for word in remaining:
        if word in ROOT_OPTIONS_WITH_VALUE:
            next(remaining, None)
        elif not word.startswith("-"):
            return ALIASES.get(word, word)
    return None


def build_arguments(line: MagicLine, cell: str | None, namespace: Mapping[str, object]) -> list[str]:
    """Return the arguments for the command tree; ``cell`` is the body below ``%%queuectl``."""
    values = {name: _value(name, namespace) for name in line.variables}
    if cell is None:
        if line.python:
            raise BadInput("--python needs a cell: write %%queuectl enqueue --python with the code below it")
        if not values:
            _check_expansion(line.words)
        return _fill_words(line.words, values)
    if {"--help", "-h"} & set(line.words):
        return line.words
    _check_cell(line.words, cell)
    words = _fill_words(line.words, values)
    # IPython adds a newline to each cell
    text = cell.removesuffix("\n")
    if line.python:
        return [*words, "--command", python_command(text, values)]
    return [*words, "--command", _fill_command(text, values)]


def _check_expansion(words: Sequence[str]) -> None:
    """Reject an argument such as ``{job.id}`` or ``$name``, which other magics expand."""
    end = words.index("--") if "--" in words else len(words)
    for before, word in zip(["", *words], words[:end], strict=False):
        if before != "--command" and _EXPANSION.fullmatch(word):
            raise BadInput(f"{word} is not expanded; assign it to a variable, and write {{NAME}} with --var NAME")


def _check_cell(words: Sequence[str], cell: str) -> None:
    """Reject a cell for other verbs, an empty cell, and a command given in another way."""
    verb = verb_of(words)
    if verb not in CELL_VERBS:
        msg = f"%%queuectl supports only {' and '.join(CELL_VERBS)}; use %queuectl {verb or 'VERB'} with one %"
        raise BadInput(msg)
    if not cell.strip():
        raise BadInput(f"the cell is empty; write the command below %%queuectl {verb}")
    for word in words:
        option = word.partition("=")[0]
        if option in COMMAND_OPTIONS or word.startswith(("{", "-c")):
            raise BadInput(f"the cell is the command; remove {option[:20]}")


def _value(name: str, namespace: Mapping[str, object]) -> object:
    """Return the value of a notebook variable."""
    if not name.isidentifier():
        raise BadInput(f"--var needs a variable name, not {name!a}")
    if name not in namespace:
        raise BadInput(f"--var {name}: no such variable in the notebook")
    return namespace[name]


def _fill_words(words: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """Fill placeholders: quoted for the shell in ``--command``, unquoted in other arguments."""
    if not values:
        return [*words]
    end = words.index("--") if "--" in words else len(words)
    filled: list[str] = []
    for position, word in enumerate(words):
        if position < end and word.lstrip().startswith("{") and ":" in word and '"' in word:
            raise BadInput("--var cannot fill JSON, which has braces itself; use --command, a cell, or Queue.enqueue()")
        if position < end and word.startswith("--command="):
            filled.append("--command=" + _fill_command(word.removeprefix("--command="), values))
        elif 0 < position < end and words[position - 1] in ("--command", "-c"):
            filled.append(_fill_command(word, values))
        else:
            raw = _PLACEHOLDER.sub(lambda match: match[0] if match[1] is None else f"{{{match[1]}:raw}}", word)
            filled.append(_fill_command(raw, values))
    return filled


def _fill_command(text: str, values: Mapping[str, object]) -> str:
    """Return a command with values quoted for the shell; without values, braces stay as they are."""
    if not values:
        return text
    from queuectl_nb.model.command_template import CommandTemplate

    return CommandTemplate(text).fill(values)
