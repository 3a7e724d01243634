"""Tab behind ``%queuectl``: what the console would offer, and the notebook's own options and variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from click.shell_completion import ShellComplete, split_arg_string
from IPython.core.completer import SimpleCompletion

from queuectl_nb.commands.app import PROGRAM, root
from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.notebook.magic_line import read, verb_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from queuectl_nb.notebook.magics import QueuectlMagics

__all__ = ["Matcher"]

_LINE = re.compile(r"^\s*(?:[\w\s.,\[\]'\"()*]+=\s*)?%%?queuectl\s(?P<words>.*)$", re.DOTALL)
OURS = ("--var", "--python")
PATHS = ("file", "dir")


class Matcher:
    """A matcher of IPython's second API, for one shell's magics."""

    matcher_api_version = 2
    matcher_identifier = "queuectl"
    matcher_priority = 100.0

    def __init__(self, magics: QueuectlMagics) -> None:
        """Ask the queues of ``magics``."""
        self.magics = magics
        self.__qualname__ = self.matcher_identifier  # IPython asks for a function's

    def __call__(self, context: CompletionContext) -> SimpleMatcherResult:
        """Return what could stand at the cursor; nothing, where the line is not ours or the words are odd."""
        found = _LINE.match(context.text_until_cursor)
        if found is None:
            return {"completions": [], "suppress": False}
        text = found["words"]
        incomplete = re.split(r"\s", text)[-1]
        words = split_arg_string(text[: len(text) - len(incomplete)])
        offers = [SimpleCompletion(word, type="queuectl") for word in self._offers(words, incomplete)]
        # IPython replaces what was typed of the word, and asks that it be told exactly that
        return {"completions": offers, "matched_fragment": incomplete, "suppress": True, "ordered": True}

    def _offers(self, words: list[str], incomplete: str) -> Iterator[str]:
        if words and words[-1] == "--var":
            yield from (name for name in self._variables() if name.startswith(incomplete))
            return
        if verb_of(words) == "enqueue" and "--" not in words and incomplete.startswith("-"):
            yield from (option for option in OURS if option.startswith(incomplete))
        before, _, _ = incomplete.partition("=") if incomplete.startswith("--") else ("", "", incomplete)
        prefix = f"{before}=" if "=" in incomplete and before else ""
        for item in self._tree_offers(words, incomplete):
            if item.type not in PATHS:
                yield prefix + item.value

    def _tree_offers(self, words: list[str], incomplete: str) -> list[Any]:
        """Ask click, as the console does."""
        try:
            session = self.magics.session(words)
            given = read(" ".join(words)).words if "--var" in words else words
            return ShellComplete(root, {"obj": session}, PROGRAM, "_").get_completions(given, incomplete)
        except QueuectlError:
            return []

    def _variables(self) -> list[str]:
        return [name for name in self.magics.namespace if not name.startswith("_")]
