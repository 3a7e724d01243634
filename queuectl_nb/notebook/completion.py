"""Tab completion for ``%queuectl`` and ``%%bg``: what the console completes, notebook options and variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from click.shell_completion import ShellComplete, split_arg_string
from IPython.core.completer import SimpleCompletion

from queuectl_nb.commands.app import PROGRAM, root, with_underscores
from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.notebook.magic_line import CELL_VERBS, parse_line, verb_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from queuectl_nb.notebook.magics import QueuectlMagics

__all__ = ["Matcher"]

_LINE = re.compile(r"^\s*(?:[\w\s.,\[\]'\"()*]+=\s*)?%%?queuectl\s(?P<words>.*)$", re.DOTALL)
_BACKGROUND_LINE = re.compile(r"^\s*%%bg\s(?P<words>.*)$", re.DOTALL)
_BACKGROUND_WORDS = ["enqueue", "--python", "--auto-inputs"]
NOTEBOOK_OPTIONS = ("--var", "--python", "--input", "--auto-inputs")
PATH_TYPES = ("file", "dir")


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
