"""``enqueue``: add one job, as a command, as words or as JSON, or many as JSON lines."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.commands.ack import Done, done_for_jobs
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import DIRECTORY, FILE, JOB, QUEUE, TAG, TextParam, decode_word
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.context import Context
    from queuectl_nb.model.job import JobSpec

__all__ = ["command"]

WORDS_KEY = "queuectl.words"
"""Where the words after ``--`` wait in click's ``ctx.meta``."""
FIELD_OF_OPTION = {"tag": "tags"}
"""Options that are not called as the field that they set."""


class EnqueueCommand(click.Command):
    """Tells the words after ``--``, which are a command, from an argument, which is JSON."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta[WORDS_KEY] = [decode_word(word) for word in args[place + 1 :]]
            args = args[:place]
        return super().parse_args(ctx, args)


@queuectl_command("enqueue", cls=EnqueueCommand)
@click.argument("given", metavar="[JSON | -- ARG...]", nargs=-1, type=TextParam())
@click.option("--command", type=TextParam(), metavar="C", help="What /bin/sh runs.")
@click.option("--id", type=TextParam(), help="The job's name; made up when left out.")
@click.option("--from", "source", type=FILE, metavar="FILE|-", help="Read jobs as JSON lines, all or none.")
@click.option("--priority", type=TextParam(), metavar="N", help="Higher runs first (0).")
@click.option("--delay", type=TextParam(), metavar="SECONDS", help="Do not start before so many seconds have passed.")
@click.option("--run-at", type=TextParam(), metavar="ISO", help="Do not start before this time.")
@click.option("--timeout", type=TextParam(), metavar="SECONDS", help="Longest run of an attempt; 0 for no limit.")
@click.option("--max-retries", type=TextParam(), metavar="N", help="Attempts in all.")
@click.option("--queue", type=QUEUE, metavar="NAME", help="The queue it goes to (default).")
@click.option("--tag", type=TAG, multiple=True, help="A word to find it by; repeatable.")
@click.option("--after", type=JOB, metavar="ID", multiple=True, help="A job that must complete first; repeatable.")
@click.option("--cwd", type=DIRECTORY, metavar="DIR", help="Where it runs (here).")
@click.option(
    "--env", type=TextParam(), metavar="K=V", multiple=True, help="A variable of its environment; repeatable."
)
@click.option("--if-absent", is_flag=True, help="Leave a job of that id and command as it is.")
@click.pass_context
def command(ctx: click.Context, /, *, given: Sequence[str], source: str | None, if_absent: bool, **fields: Any) -> Done:
    """Add a job to the queue.

    The command is given with --command, as words after --, or as one JSON object.
    """
    from queuectl_nb.client.enqueue import make_spec

    session: Context = ctx.obj
    wish = {
        FIELD_OF_OPTION.get(key, key): list(value) if isinstance(value, tuple) else value
        for key, value in fields.items()
    }
    wish = {key: value for key, value in wish.items() if value not in (None, [])}
    after_dashes: Sequence[str] | None = ctx.meta.get(WORDS_KEY)
    _require_one_source(given, after_dashes, source, wish)
    queue = session.queue()
    if source is not None:
        return _enqueue_lines(queue, source, wish, if_absent=if_absent)
    if after_dashes is not None:
        wish["command"] = _join_words(after_dashes)
    elif given:
        wish = _merge_options(_parse_object(given[0], "the job"), wish)
    return _enqueue_one(queue, make_spec(wish), if_absent=if_absent)


def _require_one_source(
    given: Sequence[str], words: Sequence[str] | None, source: str | None, wish: Mapping[str, Any]
) -> None:
    """Refuse more than one way to say what runs, and none."""
    ways = {
        "--command": "command" in wish,
        "words after --": words is not None,
        "JSON": bool(given),
        "--from": source is not None,
    }
    chosen = [way for way, there in ways.items() if there]
    if given and not given[0].lstrip().startswith("{"):
        msg = f"{given[0]!a} is no JSON object; put -- before the words of a command, or use --command"
        raise BadInput(msg)
    if len(chosen) != 1:
        said = f"not {' and '.join(chosen)}" if chosen else "nothing was given"
        msg = f"give the job in one way: --command C, -- ARG..., a JSON object, or --from FILE; {said}"
        raise BadInput(msg)
    if len(given) > 1:
        msg = "give one JSON object; several jobs go with --from FILE"
        raise BadInput(msg)
    if source is not None and "id" in wish:
        msg = "--id names one job; with --from the lines name theirs"
        raise BadInput(msg)


def _join_words(words: Sequence[str]) -> str:
    """Return words as a command, quoted for the shell."""
    import shlex

    if not words or not words[0]:
        msg = "nothing stands after --; give the command's words"
        raise BadInput(msg)
    return shlex.join(words)


def _enqueue_one(queue: Queue, spec: JobSpec, *, if_absent: bool) -> Done:
    began = time.time()
    (job_id,) = queue.enqueue_specs([spec], if_absent=if_absent)
    line = f"Job enqueued: {job_id} (priority: {spec.priority})" + _start_condition(spec)
    if if_absent and queue.store.jobs.get(job_id).created_at < began:
        line = f"Job {job_id} is already in the queue."
    jobs = done_for_jobs(queue, [job_id], "")
    return Done([line], lambda: jobs.data()[0], lambda: queue.job(job_id))


def _start_condition(spec: JobSpec) -> str:
    """Return what is said of a job that does not run at once."""
    if spec.run_at is not None and spec.run_at > time.time():
        from queuectl_nb.model.validation import format_time

        return f". Will run at {format_time(spec.run_at)}."
    if spec.delay:
        return f". Will run after {spec.delay:.15g} seconds."
    return f". Will run after {', '.join(spec.after)}." if spec.after else ""


def _enqueue_lines(queue: Queue, source: str, common: Mapping[str, Any], *, if_absent: bool) -> Done:
    """Add the jobs of JSON lines; options stand for what a line leaves open."""
    from queuectl_nb.client.enqueue import make_spec, name_the_row

    specs, numbers = [], []
    for number, line in enumerate(_read_lines(source), 1):
        if not line.strip():
            continue
        try:
            specs.append(make_spec({**common, **_parse_object(_decode_line(line), "the line")}))
        except BadInput as refused:
            msg = f"line {number}: {refused}; nothing was enqueued"
            raise BadInput(msg) from None
        numbers.append(number)
    with name_the_row(lambda place: f"line {numbers[place]}", "; nothing was enqueued"):
        ids = queue.enqueue_specs(specs, if_absent=if_absent)
    return Done(
        [f"{len(ids)} jobs enqueued"], done_for_jobs(queue, ids, "").data, lambda: [queue.job(each) for each in ids]
    )


def _read_lines(source: str) -> Iterable[bytes]:
    """Return the lines of a file, or of standard input for ``-``."""
    if source == "-":
        return sys.stdin.buffer.read().split(b"\n")
    from pathlib import Path

    try:
        return Path(source).read_bytes().split(b"\n")
    except (OSError, ValueError) as error:
        msg = f"cannot read {source!a}: {getattr(error, 'strerror', None) or error}"
        raise BadInput(msg) from None


def _decode_line(line: bytes) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        msg = "not valid UTF-8"
        raise BadInput(msg) from None


def _parse_object(text: str, what: str) -> dict[str, Any]:
    """Return a JSON object; refuse anything else, a key that stands twice, and numbers that JSON does not have."""
    try:
        found = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        msg = f"{what} is not valid JSON: {error}"
        raise BadInput(msg) from None
    if not isinstance(found, dict):
        msg = f"{what} is no JSON object"
        raise BadInput(msg)
    return found


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        msg = "a key stands twice"
        raise BadInput(msg)
    return found


def _refuse_constant(word: str) -> float:
    msg = f"{word} is no number"
    raise BadInput(msg)


def _merge_options(job: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON job with the options beside it; refuse what is given in both."""
    twice = [key for key in options if key in job]
    if twice:
        msg = f"{twice[0]} is given in the JSON and as an option; give it once"
        raise BadInput(msg)
    return {**job, **options}
