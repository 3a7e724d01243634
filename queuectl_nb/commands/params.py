"""Parameter types and options that commands share, with their shell completion."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import click
from click.types import StringParamType

from queuectl_nb.commands.context import FORMATS
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput, NotFound, QueuectlError
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from click.shell_completion import CompletionItem

    from queuectl_nb.client.queue import Queue

__all__ = [
    "DIRECTORY",
    "FILE",
    "QUEUE",
    "STATE",
    "TAG",
    "Choice",
    "Parsed",
    "Path",
    "TextParam",
    "add_db_options",
    "add_format_options",
    "decode_word",
    "find_ids",
    "job_id_type",
]

MAX_CANDIDATES = 200
"""Maximum number of job ids that are completed."""
MAX_NAMED = 5
"""Maximum number of ids in the error about an ambiguous one."""


class TextParam(StringParamType):
    """Text; bytes that are not valid UTF-8 are refused.

    Completes ``words``, and what ``read(queue, incomplete)`` returns.
    """

    def __init__(
        self, metavar: str, words: Iterable[str] = (), read: Callable[[Queue, str], Iterable[str]] | None = None
    ) -> None:
        self.metavar = metavar
        self.words = tuple(words)
        self.read = read

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the name of the value in help texts."""
        return self.metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text unchanged."""
        return validation.parse_text(_display_name(param), decode_word(super().convert(value, param, ctx)))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the candidates with this prefix; none if the queue cannot be read."""
        from click.shell_completion import CompletionItem

        words: Iterable[str] = self.words
        prefixes = (incomplete, incomplete.replace("-", "_"))  # of settings and fields
        if self.read is not None:
            prefixes = (incomplete, incomplete)
            try:
                queue = ctx.obj.existing_queue()
                words = self.read(queue, incomplete) if queue else ()
            except QueuectlError:
                return []
        return [CompletionItem(word) for word in words if word.startswith(prefixes)]


def decode_word(word: Any) -> Any:
    """Decode an argument again as UTF-8 if the locale has another encoding."""
    if not isinstance(word, str) or word.isascii() or sys.getfilesystemencoding() == "utf-8":
        return word
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError:
        return word


def _display_name(param: click.Parameter | None) -> str:
    """Return the name of a parameter for messages."""
    if param is None:
        return "argument"
    return max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name.lower()


class Choice(TextParam):
    """One of a fixed set of words; hyphens are accepted for underscores."""

    def __init__(self, what: str, valid: Iterable[str], metavar: str | None = None) -> None:
        valid = tuple(valid)
        super().__init__(metavar or "|".join(valid), valid)
        self.what = what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the word; raise ``BadInput`` with the valid ones if it is not among them."""
        word = super().convert(value, param, ctx)
        known = word if word in self.words else word.replace("-", "_")
        return known if known in self.words else validation.parse_choice(self.what, word, self.words)


class Parsed(TextParam):
    """Text that ``parse(name of the option, text, *bounds)`` turns into a value."""

    def __init__(self, metavar: str, parse: Callable[..., Any], *bounds: float) -> None:
        super().__init__(metavar)
        self.parse = parse
        self.bounds = bounds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value; raise ``BadInput`` if the text is not valid."""
        return self.parse(_display_name(param), super().convert(value, param, ctx), *self.bounds)


class Path(TextParam):
    """A path, completed by the shell; any bytes are accepted."""

    convert = StringParamType.convert

    def __init__(self, kind: str) -> None:
        super().__init__(kind.upper())
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete it."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=self.kind)]


def job_id_type(states: Iterable[State] = State) -> TextParam:
    """Return the type of a job id; the ids of jobs in these states are completed."""
    kept = tuple(states)
    return TextParam(
        "ID", read=lambda queue, incomplete: queue.store.reader.complete_ids(incomplete, kept, MAX_CANDIDATES)
    )


_NUMBER_AT_END = re.compile(r"(?<![A-Za-z0-9])[0-9]+\Z")
_DIGITS_FIRST = re.compile(r"[0-9]+(?![A-Za-z0-9])")


def find_ids(queue: Queue, words: Iterable[str]) -> list[str]:
    """Return the ids that ``words`` refer to, each once: an id, or the beginning of only one.

    A word that is neither is returned as it is, so that the command reports it. ``job-1`` does not refer to
    ``job-12``: a beginning must not cut a number, since another job may have had that id.
    """
    given = list(dict.fromkeys(words))
    known = queue.store.reader.states_of(given) if given else {}
    return list(dict.fromkeys(word if word in known else _complete_id(queue, word) for word in given))


def _complete_id(queue: Queue, word: str) -> str:
    found = queue.store.reader.complete_ids(word, list(State), MAX_CANDIDATES) if word else []
    if _NUMBER_AT_END.search(word):
        found = [each for each in found if not _DIGITS_FIRST.match(each[len(word) :])]
    if len(found) > 1:
        names = ", ".join(found[:MAX_NAMED]) + (", ..." if len(found) > MAX_NAMED else "")
        raise NotFound(f"no job {validation.shown_id(word)} in {queue.path}; several ids begin with it: {names}")
    return found[0] if found else word


STATE = Choice("state", State, "STATE")
QUEUE = TextParam("QUEUE", read=lambda queue, _incomplete: queue.store.reader.queue_names())
TAG = TextParam("TAG", read=lambda queue, _incomplete: queue.store.reader.complete_tags())
FILE = Path("file")
DIRECTORY = Path("dir")


def _set_db(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        if not value or "\0" in value:
            raise BadInput("--db needs a path")
        ctx.obj.db = value


def _set_network(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.obj.allow_network_fs = True


def _set_format(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.obj.choose_format(value)


def add_db_options(command: click.Command, *, hide_network: bool = True) -> click.Command:
    """Add ``--db`` and ``--allow-network-fs`` to a command."""
    command.params += [
        click.Option(
            ["--db"],
            type=FILE,
            metavar="PATH",
            expose_value=False,
            callback=_set_db,
            help="Queue file (default: $QUEUECTL_DB, the nearest .queuectl/queue.db, or the user's queue).",
        ),
        click.Option(
            ["--allow-network-fs"],
            is_flag=True,
            expose_value=False,
            callback=_set_network,
            hidden=hide_network,
            help="Accept a file on a network file system; use it from one host only.",
        ),
    ]
    return command


def add_format_options(command: click.Command) -> click.Command:
    """Add ``--format`` and ``--json`` to a command."""
    command.params += [
        click.Option(
            ["-o", "--format"],
            type=Choice("format", FORMATS),
            expose_value=False,
            callback=_set_format,
            help="Output format (default: table).",
        ),
        click.Option(
            ["--json"], flag_value="json", expose_value=False, callback=_set_format, help="Same as --format json."
        ),
    ]
    return command
