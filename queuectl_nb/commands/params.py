"""Parameter types and options that commands share, with their shell completion."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
from click.types import StringParamType

from queuectl_nb.commands.context import FORMATS, Context
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput, QueuectlError
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from click.shell_completion import CompletionItem

    from queuectl_nb.client.queue import Queue

__all__ = [
    "DIRECTORY",
    "FILE",
    "JOB",
    "QUEUE",
    "SETTING",
    "SORT_FIELD",
    "STATE",
    "TAG",
    "WORKER",
    "Choice",
    "JobId",
    "Path",
    "QueueParam",
    "SettingKey",
    "TextParam",
    "add_db_options",
    "add_format_options",
    "decode_word",
]

MAX_CANDIDATES = 200
"""Maximum number of job ids that are completed."""


class TextParam(StringParamType):
    """Text; bytes that are not valid UTF-8 are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text unchanged."""
        return validation.parse_text(_display_name(param), decode_word(super().convert(value, param, ctx)))

    def candidates(self, context: Context, incomplete: str) -> Iterable[str]:
        """Return the completion candidates."""
        return ()

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the candidates with this prefix; none if the queue cannot be read."""
        from click.shell_completion import CompletionItem

        context = ctx.find_object(Context)
        if context is None:
            return []
        try:
            return [
                CompletionItem(word) for word in self.candidates(context, incomplete) if word.startswith(incomplete)
            ]
        except QueuectlError:
            return []


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
    return param.opts[0] if isinstance(param, click.Option) else param.human_readable_name.lower()


class Choice(TextParam):
    """One of a fixed set of words; hyphens are accepted for underscores."""

    def __init__(self, what: str, valid: Iterable[str]) -> None:
        self.what = what
        self.valid = tuple(valid)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word; raise ``BadInput`` with the valid ones if it is not among them."""
        word = super().convert(value, param, ctx)
        known = word if word in self.valid else word.replace("-", "_")
        return known if known in self.valid else validation.parse_choice(self.what, word, self.valid)

    def candidates(self, context: Context, incomplete: str) -> Iterable[str]:
        """Return the valid words."""
        return self.valid


class QueueParam(TextParam):
    """Text that completes to values read from the queue."""

    def __init__(self, ask: Callable[[Queue], Iterable[str]]) -> None:
        self.ask = ask

    def candidates(self, context: Context, incomplete: str) -> Iterable[str]:
        """Return the values in the queue."""
        queue = context.existing_queue()
        return self.ask(queue) if queue else ()


class JobId(TextParam):
    """A job id; completes the ids of jobs in the given states (default: all)."""

    def __init__(self, states: Iterable[State] = State) -> None:
        self.states = tuple(states)

    def candidates(self, context: Context, incomplete: str) -> Iterable[str]:
        """Return the ids with this prefix."""
        queue = context.existing_queue()
        return queue.store.reader.complete_ids(incomplete, self.states, MAX_CANDIDATES) if queue else ()


class Path(StringParamType):
    """A path, completed by the shell; any bytes are accepted."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete it."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=self.kind)]


class SettingKey(TextParam):
    """A setting key; validated where it is used."""

    def candidates(self, context: Context, incomplete: str) -> Iterable[str]:
        """Return all keys."""
        from queuectl_nb.model.settings import SETTINGS

        return SETTINGS


JOB = JobId()
STATE = Choice("state", State)
SORT_FIELD = Choice("sort field", JOB_FIELDS)
QUEUE = QueueParam(lambda queue: queue.store.reader.queue_names())
TAG = TextParam()
WORKER = QueueParam(lambda queue: [row.name for row in queue.store.workers.list_all()])
SETTING = SettingKey()
FILE = Path("file")
DIRECTORY = Path("dir")


def _context(ctx: click.Context) -> Context:
    found = ctx.find_object(Context)
    assert found is not None, "the caller sets ctx.obj"  # noqa: S101
    return found


def _set_db(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        if not value or "\0" in value:
            msg = "--db needs a path"
            raise BadInput(msg)
        _context(ctx).db = value


def _set_network(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        _context(ctx).allow_network_fs = True


def _set_format(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        _context(ctx).choose_format(value)


def _set_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        _context(ctx).choose_format("json")


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
            ["--format"],
            type=Choice("format", FORMATS),
            metavar="|".join(FORMATS),
            expose_value=False,
            callback=_set_format,
            help="Output format (default: table).",
        ),
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_set_json, help="Same as --format json."),
    ]
    return command
