"""Tracks shell quoting, to tell whether a quoted value at some position of a command is read as one word.

Follows quotes, escapes, comments and substitutions as ``/bin/sh`` does, in dash and bash. Where the two differ, or
only a complete parser could tell, it reports that instead of guessing.
"""

from __future__ import annotations

import re

__all__ = ["ShellReader"]

_SEPARATORS = frozenset(" \t\n;&|()<>")
_SUBSTITUTION = frozenset({"$(", "<(", ">("})
_PLAIN = _SUBSTITUTION | {"("}
"""What opens a context of plain words."""
_GLUE = {"$": "follows a $", "\\": "follows a backslash"}
_INSIDE = {
    "'": "is inside quotes",
    '"': "is inside quotes",
    "$'": "is inside quotes",
    "`": "is inside backticks, which quotes do not protect",
    "((": "is inside ((...)), which quotes do not protect",
    "$((": "is inside $((...)), which quotes do not protect",
    "${": "is inside ${...}",
    "#": "is in a comment",
}
_SUBSCRIPT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[[^]]*\Z")


class ShellReader:
    """Reads shell text piece by piece and reports whether a quoted value can be inserted at that point.

    >>> reader = ShellReader()
    >>> reader.read("python train.py --lr ")
    >>> reader.trouble is None
    True
    >>> reader.read("--name 'a ")
    >>> reader.trouble
    'is inside quotes'
    """

    def __init__(self) -> None:
        """Start before the first character."""
        self._open: list[str] = []
        self._before = ""  # the last character, where it matters to the next one: an unescaped \ $ ( < >
        self._word = ""  # the current plain word, with NUL in place of quoted parts
        self._depth = 0  # of parentheses in arithmetic
        self._here = 0  # here-documents that start on the next line
        self._copied: int | None = None  # how many contexts were open at >& or <&, until its word ends
        self._lost: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why a quoted value cannot be inserted at this point; None if it can."""
        if self._lost:
            return self._lost
        if self._before in _GLUE:
            return _GLUE[self._before]
        if self._copied is not None:
            return "follows >& or <&, where bash expands it again"
        if _SUBSCRIPT.match(self._word):
            return "is inside [...], which bash may evaluate as a subscript"
        return _INSIDE.get(self._open[-1]) if self._open else None

    def value(self) -> None:
        """Skip an inserted quoted value: part of a word."""
        self._word += "\0"
        self._before = ""

    def read(self, text: str) -> None:
        """Read ``text``."""
        for char in text:
            if self._lost:
                return
            before, self._before = self._before, ""
            top = self._open[-1] if self._open else "("
            if top in _PLAIN:
                self._plain(char, before)
            elif before == "\\":
                self._escaped(char, top)
            elif top == '"':
                self._double(char, before)
            elif top == "${":
                self._expansion(char, before)
            elif top in ("((", "$(("):
                self._arithmetic(char, before, top)
            else:
                self._quiet(char, top)

    def _plain(self, char: str, before: str) -> None:
        if before == "\\":
            self._word += "" if char == "\n" else "\0"
        elif char in "'\"$`" and _SUBSCRIPT.match(self._word):
            self._lost = "follows an expansion inside [...], which bash may evaluate as a subscript"
        elif char == "#" and not self._word:
            self._open.append("#")
        elif char in "'\"":
            self._open.append("$'" if before + char == "$'" else char)
            self._word += "\0"
        elif char in _SEPARATORS:
            self._separator(char, before)
        elif not self._special(char, before):
            self._word += char

    def _separator(self, char: str, before: str) -> None:
        word, self._word = self._word, ""
        self._end_copied(word, char, before)
        if before == "$" and char == "(":
            self._open.append("$(")
            self._before = "("
        elif lost := self._unreadable(word, char):
            self._lost = lost
        elif char == "(":
            self._parenthesis(before)
        elif char == ")":
            if self._open and self._open.pop() in _SUBSTITUTION:
                self._word = "\0"
        elif char in "<>":
            self._redirection(char, before)
        elif char == "&" and before[-1:] in ("<", ">"):
            self._copied = len(self._open)

    def _unreadable(self, word: str, char: str) -> str | None:
        """Return why the context after ``word`` is unknown, if it is."""
        if word == "[[":
            return "follows a [[, which evaluates its operands"
        if word == "case" and "$(" in self._open:
            return "follows a 'case' inside $(...), where quotes cannot be recognized"
        if char == "(" and word.endswith("="):
            return "follows an array, where shells differ"
        if char == "\n" and self._here:
            return "follows the beginning of a here-document, which quotes do not protect"
        return None

    def _end_copied(self, word: str, char: str, before: str) -> None:
        """Stop refusing values where the word after >& or <& ends: not at blanks before it, nor inside $(...)."""
        ends = before != "$" and (word or char not in " \t")
        if ends and self._copied is not None and len(self._open) <= self._copied:
            self._copied = None

    def _redirection(self, char: str, before: str) -> None:
        run = before + char if char == "<" and before.startswith("<") else char
        self._here += {"<<": 1, "<<<": -1}.get(run, 0)
        self._before = run

    def _parenthesis(self, before: str) -> None:
        if before == "(":  # arithmetic, or a subshell in a subshell: it ends with its parentheses anyway
            self._open[-1] = "$((" if self._open[-1] == "$(" else "(("
            self._depth = 2
        else:
            self._open.append(before + "(" if before in ("<", ">") else "(")
            self._before = "("

    def _special(self, char: str, before: str) -> bool:
        """Handle what is the same in plain words, double quotes and expansions; return False for anything else."""
        self._word += "\0" if char in "$`" else ""
        if before == "$" and char == "[":
            self._lost = "follows a $[, where shells differ"
        elif before == "$" and char in "({":
            self._open.append("$" + char)
            self._before = char
            self._word = ""
        elif char == "`":
            self._open.append(char)
        elif char in "\\$":
            self._before = "" if before + char == "$$" else char  # $$ is the shell's own number
        else:
            return False
        return True

    def _escaped(self, char: str, top: str) -> None:
        if top == "$'" and char == "'":
            self._lost = "follows a \\' inside $'...', where shells differ"

    def _double(self, char: str, before: str) -> None:
        if char == '"':
            self._open.pop()
            self._word = "\0"
        else:
            self._special(char, before)

    def _expansion(self, char: str, before: str) -> None:
        if char == "}":
            self._open.pop()
            self._word = "\0"
        elif char in "'\"":
            if '"' in self._open or before == "$":
                self._lost = "follows quotes inside ${...}, where shells differ"
            self._open.append(char)
        else:
            self._special(char, before)

    def _arithmetic(self, char: str, before: str, top: str) -> None:
        if char in "'\"`\\#" or before + char in ("$(", "${", "$["):
            self._lost = f"follows quotes or a substitution inside {top}...)), where quotes cannot be recognized"
        self._depth += {"(": 1, ")": -1}.get(char, 0)
        self._before = char if char == "$" else ""
        if not self._depth:
            self._open.pop()
            self._word = "\0" if top == "$((" else ""

    def _quiet(self, char: str, top: str) -> None:
        """Read up to the end of a comment, single quotes or backticks."""
        if top == "#":
            if char == "\n":
                self._open.pop()
                self._plain(char, "")
        elif char == top[-1]:
            self._open.pop()
        elif char == "\\" and top != "'":
            self._before = char
