r"""Why an attempt failed, in one line: its outcome and the last meaningful line of its standard error.

>>> from queuectl_nb.model.attempt import Ending
>>> def error(outcome, stderr):
...     return describe(outcome, read_message(outcome, Ending(0.0, stderr=stderr)))
>>> error(Exited(1), "Error: no space left\n 50%|##   | 1/2\r100%|####| 2/2\n")
'exit code 1: Error: no space left'
>>> error(Exited(127), "sh: 1: conda: not found\n")
"exit code 127: conda: command not found (needs another shell, such as --shell 'bash -l')"
"""

from __future__ import annotations

import re
from typing import NamedTuple

from queuectl_nb.model.attempt import DISK_FULL_NOTE, Ending
from queuectl_nb.model.escape_sequences import SEQUENCE
from queuectl_nb.model.outcome import Exited, Outcome, Raised, Signalled

__all__ = ["MAX_ERROR_CHARS", "Message", "cut", "describe", "encodable", "read_message"]

MAX_ERROR_CHARS = 300
TAIL_CHARS = 8192
"""The message is searched in this many characters at the end of a stream."""
NOT_FOUND = 127
"""Exit code of a shell that did not find a program."""
_CRASHES = frozenset({"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV"})
"""Signals that a process causes itself, usually after a message."""

_TRACEBACK = "Traceback (most recent call last):\n"
_IGNORED = "Exception ignored "
_FATAL = "Fatal Python error: "
_LAUNCHER_ERROR = "torch.distributed.elastic."
"""What torchrun raises when a process has failed, after the traceback of that process."""
_SYNTAX_ERROR = re.compile(r"(?:Syntax|Indentation|Tab)Error: ")
_WARNING = re.compile(
    r"^\S.*:\d+: \w*Warning: .*\n?(?:[ \t].*\n?)?"
    r"|^In addition: Warning messages?:\n(?:.*\n)*?(?=Execution halted)",  # R
    re.MULTILINE,
)
_SKIPPED = re.compile(
    r"[\W\d_]*\Z"  # no letters
    r"|.*\d%\s*\||.*[━█╸]{3}|.*\[[=#>.\- ]{5,}\]"  # progress bars
    r"|\s+at \S|\s*\.\.\. \d+ more\Z|Node\.js v[\d.]+\Z"  # stack frames of Java and Node
    r"|compilation terminated\.\Z|Execution halted\Z|Calls: |note: run with `RUST_BACKTRACE|Extension modules: "
    r"|g?make(\[\d+\])?: \*\*\* .* Error \d+\Z"
    r"|Backtrace:\Z|\s*\d+\. [├└│]"  # R, package rlang
    r"|with errorcode \d+\.\Z|NOTE: invoking MPI_ABORT|You may or may not see output|exactly when Open MPI kills"
    r"|Primary job +terminated|a non-zero exit code\. Per user|(mpirun|mpiexec|prterun) detected that"
    r"|the job to be terminated\. The|\s+Process name: \[\[|\s+Exit code: "  # Open MPI
    r"|=   [A-Z]|This typically refers to a problem with|Please see the FAQ page"  # MPICH
    r"|srun: (error: \S+: tasks? |Terminating |Force Term)|slurmstepd: error: \*\*\*"  # Slurm
    r"|\[notice\] |See 'docker |==\d+==ABORTING"
    r"|\S+: (cannot set terminal process group|no job control in this shell)"
)
"""Lines that do not say why a program failed."""
_PYTEST = re.compile(r"^(?:FAILED|ERROR) \S.*", re.MULTILINE)
"""Lines of the summary that pytest writes to standard output."""
_LETTERS = re.compile(r"[\W\d_]+")

_MISSING = re.compile(
    r"^\S+: (?:(?:line )?\d+: )?(?P<program>.+?): (?:command )?not found$"  # dash, bash, busybox
    r"|^\S+: (?:command not found|Unknown command): (?P<other>.+)$",  # zsh, fish
    re.MULTILINE,
)
_SHELL_WORDS = frozenset(
    {"[[", "declare", "function", "let", "mapfile", "popd", "pushd", "readarray", "shopt", "source", "typeset"}
    | {"activate", "conda", "deactivate", "mamba", "micromamba", "ml", "module", "nvm", "pyenv", "workon"}
)
"""Words of bash, and functions that a login shell defines."""
_OTHER_SHELL = ("CondaError: Run 'conda init'", "Illegal option -o pipefail", "Bad substitution", 'Syntax error: "("')
"""Parts of messages about what ``/bin/sh`` lacks."""
_REMEDY = " (needs another shell, such as --shell 'bash -l')"
_ONE_WORD_REMEDY = " (this is one word; give a line for the shell with --command)"


class Message(NamedTuple):
    """What a program said about its failure: the end of its output, the exception in it, and the last message."""

    tail: str = ""
    exception: str = ""
    """Empty if there is no traceback."""
    text: str = ""


_NONE = Message()


def read_message(outcome: Outcome, ending: Ending) -> Message:
    """Return what a program that has ended by itself said about its failure."""
    if not (isinstance(outcome, Exited | Raised) or (isinstance(outcome, Signalled) and outcome.signal in _CRASHES)):
        return _NONE
    tail = _plain((ending.stderr_tail or ending.stderr)[-TAIL_CHARS:])
    exception = _exception(tail)
    text = exception or _last_message(tail)
    if _SYNTAX_ERROR.match(text):
        exception = text  # has no traceback
    if not text and ending.stdout:
        summary = _PYTEST.search(_plain((ending.stdout_tail or ending.stdout)[-TAIL_CHARS:]))
        text = _one_line(summary[0]) if summary else ""
    if not text and ending.note == DISK_FULL_NOTE:
        text = ending.note
    return Message(tail, exception, text)


def describe(outcome: Outcome, message: Message) -> str | None:
    """Return the error message of an attempt; None if it succeeded."""
    error = outcome.error
    if error is None:
        return None
    error = cut(encodable(error), MAX_ERROR_CHARS)
    if isinstance(outcome, Raised):
        return error
    missing = _MISSING.findall(message.tail) if isinstance(outcome, Exited) and outcome.code == NOT_FOUND else []
    if missing:
        program = "".join(missing[-1])
        text, remedy = f"{program}: command not found", _REMEDY if program in _SHELL_WORDS else ""
        if " " in program and "/" not in program.partition(" ")[0]:
            remedy = _ONE_WORD_REMEDY
    else:
        text = message.text
        remedy = _REMEDY if any(part in text for part in _OTHER_SHELL) else ""
    if not text:
        return error
    return cut(f"{error}: {text}", MAX_ERROR_CHARS - len(remedy)) + remedy


def encodable(text: str) -> str:
    r"""Return text in which lone surrogates, as in names of files that are not UTF-8, are escaped: SQLite rejects them.

    >>> encodable("bad file \udcff.csv")
    'bad file \\udcff.csv'
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def cut(text: str, length: int) -> str:
    """Return text of at most ``length`` characters, with an ellipsis if it was longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _plain(part: str | bytes) -> str:
    """Return output without escape sequences; carriage returns are kept."""
    text = part.decode("utf-8", "replace") if isinstance(part, bytes) else part
    if "\x1b" not in text and "\r" not in text:
        return text  # the fast path; _one_line removes other control characters
    return SEQUENCE.sub(lambda match: ("\r" if match[0] == "\r" else "\n") if match["line"] else "", text)


def _exception(text: str) -> str:
    """Return the exception of the last Python traceback: the line after its frames; empty if there is none.

    If that line ends in a colon, the first line of the message follows it. What precedes the header on its line is the
    margin of an exception group, a prefix of all lines as ``[rank0]:``, or other output such as a progress display.
    """
    end, launcher_error = len(text), ""
    while (found := text.rfind(_TRACEBACK, 0, end)) >= 0:
        end = text.rfind("\n", 0, found) + 1
        before = text.rfind("\n", 0, max(0, end - 1)) + 1
        if text.startswith(_IGNORED, before):
            continue
        first = found + len(_TRACEBACK)
        shown = text[first:].split("\n")
        if prefix := text[end:found].removesuffix("Exception Group "):
            if not prefix.strip(" |+"):
                shown = [line[len(prefix) :] for line in shown]
            elif text.startswith(prefix, first):
                shown = [line.removeprefix(prefix) for line in shown if line.startswith(prefix)]
        lines = iter(shown)
        for line in lines:
            if line and not line[0].isspace():
                rest = (each for each in lines if not _SKIPPED.match(each))
                error = _one_line(f"{line} {next(rest, '')}" if line.endswith((":", ": ")) else line)
                if not error.startswith(_LAUNCHER_ERROR):
                    return error
                launcher_error = error
                break
    return launcher_error


def _last_message(text: str) -> str:
    """Return the last meaningful line."""
    if (start := text.find(_FATAL)) >= 0:
        return _one_line(text[start:].partition("\n")[0])
    if "Warning" in text:
        text = _WARNING.sub("", text)
    for line in reversed(text.split("\n")):
        drawn = [part for part in line.split("\r") if part.strip()]
        if not drawn or _SKIPPED.match(drawn[-1]):
            continue
        if len(drawn) > 1 and _LETTERS.sub("", drawn[-1]) == _LETTERS.sub("", drawn[-2]):
            continue  # a progress display: only its numbers change
        return _one_line(drawn[-1])
    return ""


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if line.isprintable() else SEQUENCE.sub("", line)
