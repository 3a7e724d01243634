"""Parses and completes the line behind ``%queuectl``; with cell and variables, it becomes command line arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from click.shell_completion import ShellComplete, split_arg_string
from IPython.core.completer import SimpleCompletion

from queuectl_nb.commands.app import ALIASES, PROGRAM, root, with_underscores
from queuectl_nb.model.errors import BadInput, QueuectlError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from queuectl_nb.client.cell import Cell
    from queuectl_nb.notebook.magics import QueuectlMagics

__all__ = [
    "CELL_VERBS",
    "NOTEBOOK_OPTIONS",
    "MagicLine",
    "Matcher",
    "build_arguments",
    "parse_line",
    "read_cell",
    "verb_of",
]

ROOT_OPTIONS_WITH_VALUE = ("--db",)
COMMAND_OPTIONS = ("--command", "--from", "--call", "--notebook", "--")
"""Other ways to give the command, not allowed together with a cell."""
CELL_VERBS = ("enqueue", "run")
"""The verbs of which the cell can be the command."""
NOTEBOOK_OPTIONS = ("--var", "--python", "--input", "--auto-inputs")
PATH_TYPES = ("file", "dir")
_LINE = re.compile(r"^\s*(?:[\w\s.,\[\]'\"()*]+=\s*)?%%?queuectl\s(?P<words>.*)$", re.DOTALL)
_BACKGROUND_LINE = re.compile(r"^\s*%%bg\s(?P<words>.*)$", re.DOTALL)
_BACKGROUND_WORDS = ["enqueue", "--python", "--auto-inputs"]
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}:]*)(?::raw)?\}")
_EXPANSION = re.compile(r"\{[^\W\d][\w.\[\]'\"]*\}|\$\{?\w+\}?")


class MagicLine(NamedTuple):
    """A parsed line: the arguments for the command tree, and the options that only a notebook has."""

    words: list[str]
    variables: Sequence[str] = ()
    """Names given with ``--var``."""
    inputs: Sequence[str] = ()
    python: bool = False
    auto_inputs: bool = False


def parse_line(text: str) -> MagicLine:
    """Split a line as a shell would, without expansion, and extract the options that only a notebook has."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"cannot parse the line: {str(error).lower()}") from None
    end = words.index("--") if "--" in words else len(words)
    kept: list[str] = []
    named: dict[str, list[str]] = {"--var": [], "--input": []}
    flags = dict.fromkeys(("--python", "--auto-inputs"), False)
    remaining = iter(words[:end])
    for word in remaining:
        option, given, value = word.replace("_", "-").partition("=")[0], "=" in word, word.partition("=")[2]
        if option in named:
            named[option].append(value if given else next(remaining, ""))
        elif option in flags and not given:
            flags[option] = True
        else:
            kept.append(word)
    python, auto = flags.values()
    if (auto or named["--input"]) and not python:
        msg = "--input and --auto-inputs are for %%queuectl enqueue --python; use --var to fill {NAME} in a command"
        raise BadInput(msg)
    return MagicLine(kept + words[end:], named["--var"], named["--input"], python, auto)


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
    return words if line.python else [*words, "--command", _fill_command(text, values)]


def read_cell(line: MagicLine, cell: str, shell: InteractiveShell, namespace: Mapping[str, object]) -> Cell:
    """Return the Python cell below a line with ``--python``; ``namespace`` are its variables."""
    from queuectl_nb.client.cell import Cell

    hidden = shell.user_ns_hidden
    inputs = {name: _value(name, namespace, "--input") for name in line.inputs}
    inputs |= {name: _value(name, namespace) for name in line.variables}
    candidates = {name: value for name, value in namespace.items() if hidden.get(name, hidden) is not value}
    return Cell(cell.removesuffix("\n"), inputs, candidates if line.auto_inputs else {}, shell.user_ns)


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
        raise BadInput("the cell is empty; write the command, or Python code, below its first line")
    for word in words:
        option = word.partition("=")[0]
        if option in COMMAND_OPTIONS or word.startswith(("{", "-c")):
            raise BadInput(f"the cell is the command; remove {option[:20]}")


def _value(name: str, namespace: Mapping[str, object], option: str = "--var") -> object:
    """Return the value of a notebook variable."""
    if not name.isidentifier():
        raise BadInput(f"{option} needs a variable name, not {name!a}")
    if name not in namespace:
        raise BadInput(f"{option} {name}: no such variable in the notebook")
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


class Matcher:
    """An IPython matcher (API version 2) for the magics of one shell."""

    matcher_api_version = 2
    matcher_identifier = "queuectl"
    matcher_priority = 100.0

    def __init__(self, magics: QueuectlMagics) -> None:
        """Complete with the queues and variables of ``magics``."""
        self.magics = magics
        self.__qualname__ = self.matcher_identifier  # IPython expects a function

    def __call__(self, context: CompletionContext) -> SimpleMatcherResult:
        """Return completions at the cursor; none if the line is not a queuectl magic."""
        match = _LINE.match(context.text_until_cursor) or self._match_background(context.text_until_cursor)
        if match is None:
            return {"completions": [], "suppress": False}
        text = match["words"]
        incomplete = re.split(r"\s", text)[-1]
        before = _BACKGROUND_WORDS if match.re is _BACKGROUND_LINE else []
        words = [*before, *split_arg_string(text[: len(text) - len(incomplete)])]
        found = [SimpleCompletion(word, type="queuectl") for word in self._complete(words, incomplete)]
        return {"completions": found, "matched_fragment": incomplete, "suppress": True, "ordered": True}

    def _match_background(self, text: str) -> re.Match[str] | None:
        """Match ``%%bg``, unless another extension has a magic of that name."""
        known = self.magics.shell.find_magic("bg", "cell") if self.magics.shell is not None else None
        return _BACKGROUND_LINE.match(text) if getattr(known, "__self__", None) is self.magics else None

    def _complete(self, words: list[str], incomplete: str) -> Iterator[str]:
        if words and words[-1] in {"--var", "--input"}:
            names = self.magics.namespace
            yield from (name for name in names if name.startswith(incomplete) and not name.startswith("_"))
            return
        if verb_of(words) in CELL_VERBS and "--" not in words and incomplete.startswith("-"):
            options = [*NOTEBOOK_OPTIONS, *(map(with_underscores, NOTEBOOK_OPTIONS) if "_" in incomplete else ())]
            yield from (option for option in options if option.startswith(incomplete))
        before, _, _ = incomplete.partition("=") if incomplete.startswith("--") else ("", "", incomplete)
        prefix = f"{before}=" if "=" in incomplete and before else ""
        for item in self._complete_with_click(words, incomplete):
            if item.type not in PATH_TYPES:
                yield prefix + item.value

    def _complete_with_click(self, words: list[str], incomplete: str) -> list[Any]:
        """Return what the console completes."""
        try:
            context = self.magics.context(words)
            words = parse_line(" ".join(words)).words if {"--var", "--input"} & {*words} else words
            return ShellComplete(root, {"obj": context}, PROGRAM, "_").get_completions(words, incomplete)
        except QueuectlError:
            return []
