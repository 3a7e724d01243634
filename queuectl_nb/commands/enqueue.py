"""``enqueue``: add one job (as a command, words or JSON), or many as JSON lines."""

from __future__ import annotations

import time
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.commands import job_sources
from queuectl_nb.commands.app import ExampleCommand, queuectl_command
from queuectl_nb.commands.done import Done, jobs_data
from queuectl_nb.commands.params import DIRECTORY, FILE, QUEUE, TAG, TextParam, decode_word, find_ids, job_id_type
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.state import FINISHED_STATES, State
from queuectl_nb.model.validation import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.context import Context
    from queuectl_nb.model.job import JobSpec
    from queuectl_nb.store.insert import Inserted

__all__ = ["EnqueueCommand", "enqueue_command"]

EXAMPLES = (
    'queuectl enqueue --command "python train.py --lr 0.1"',
    "queuectl enqueue --id job-1 --timeout 3600 -- python train.py",
    'queuectl enqueue \'{"id": "job-2", "command": "python test.py", "after": ["job-1"]}\'',
)
MAX_USAGE_LENGTH = 200
"""Maximum length of a command line in an error message."""


class EnqueueCommand(ExampleCommand):
    """Separates the words after ``--``, which are a command, from the argument, which is JSON."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the words aside, as the parameter ``words``, and parse the rest."""
        words = None
        if "--" in args:
            index = args.index("--")
            words = [decode_word(word) for word in args[index + 1 :]]
            args = args[:index]
        try:
            rest = super().parse_args(ctx, list(args))
        except click.UsageError:
            self._check_dashes(ctx, args)
            raise
        if ctx.params["arguments"] and not ctx.resilient_parsing:
            self._check_dashes(ctx, args)
        ctx.params["words"] = words
        return rest

    def _check_dashes(self, ctx: click.Context, args: list[str]) -> None:
        """Raise ``BadInput`` if the first argument begins a command: ``--`` is missing before it."""
        ctx.allow_interspersed_args = False
        try:
            words = self.make_parser(ctx).parse_args(list(args))[0].get("arguments") or ()
        except click.UsageError:  # an option before the first argument is wrong
            return
        if words and not words[0].lstrip().startswith("{"):
            import shlex

            options = [f"queuectl {ctx.info_name}", *map(shlex.quote, args[: len(args) - len(words)])]
            if len(words) == 1 and not words[0].isalnum():  # a command line as one word
                fix, usage = "use --command", " ".join([*options, "--command", shlex.quote(words[0])])
            else:
                fix, usage = "put -- before the command", " ".join([*options, "--", shlex.join(words)])
            usage = usage if len(usage) <= MAX_USAGE_LENGTH else usage[:MAX_USAGE_LENGTH] + "..."
            raise BadInput(f"{quoted(words[0])} is not a JSON object; {fix}: {usage}")


@queuectl_command("enqueue", cls=EnqueueCommand, examples=EXAMPLES)
@click.argument("arguments", metavar="[JSON | -- ARG...]", nargs=-1, type=TextParam("JSON"))
@click.option("-c", "--command", type=TextParam("COMMAND"), help="Command to run with the shell.")
@click.option("--call", type=TextParam("MODULE:FUNCTION"), help="Function to call instead of a command.")
@click.option("--args", "call_args", type=TextParam("JSON"), help="Arguments of --call, as a JSON array.")
@click.option("--kwargs", "call_kwargs", type=TextParam("JSON"), help="Keywords of --call, as a JSON object.")
@job_sources.add_notebook_options
@click.option("--id", type=TextParam("ID"), help="Job id; generated if omitted.")
@click.option("--from", "source", type=FILE, metavar="FILE|-", help="Read jobs as JSON lines, all or none.")
@click.option("-p", "--priority", type=TextParam("N"), help="Priority; higher runs first (default 0).")
@click.option("--delay", type=TextParam("DURATION"), help="Do not start before this time has passed: 30, 10m, 1h30m.")
@click.option(
    "--run-at",
    type=TextParam("TIME"),
    help="Do not start before this time: 03:00 (the next one), 2030-01-31T08:00:00Z.",
)
@click.option(
    "-t",
    "--timeout",
    type=TextParam("DURATION"),
    help="Maximum run time per attempt; 0 for no limit (default: the setting).",
)
@click.option("--max-retries", type=TextParam("N"), help="Total number of attempts (default: the setting).")
@click.option("-q", "--queue", type=QUEUE, help="Queue to add the job to (default: default).")
@click.option("--tag", "tags", type=TAG, multiple=True, help="Tag of the job; repeatable.")
@click.option("--after", type=job_id_type(), multiple=True, help="Job that must complete first; repeatable.")
@click.option(
    "--after-any", type=job_id_type(), multiple=True, help="Job that must finish first, however it ends; repeatable."
)
@click.option("--cwd", type=DIRECTORY, help="Working directory of the job (default: the current one).")
@click.option("--env", type=TextParam("K=V"), multiple=True, help="Environment variable; repeatable.")
@click.option("--shell", type=TextParam("SHELL"), help="Shell that runs the command (default: the setting).")
@click.option("--if-absent", is_flag=True, help="Do nothing if a job with this id and command exists.")
@click.option("--key", type=TextParam("KEY"), help="Name of the work; a job that has it is kept or retried instead.")
@click.option("--resume", is_flag=True, help="Keep or retry jobs that do the same work; add only what is missing.")
def enqueue_command(
    context: Context,
    /,
    *,
    arguments: Sequence[str],
    words: Sequence[str] | None,
    source: str | None,
    if_absent: bool,
    resume: bool,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> Done:
    """Add a job to the queue.

    Give the command with --command, as words after --, or as one JSON object.
    """
    from queuectl_nb.client.enqueue import make_spec

    modes = {"if_absent": if_absent, "resume": resume}
    notebook = {name: options.pop(name) for name in job_sources.NOTEBOOK_OPTIONS}
    fields: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in options.items()
        if value not in (None, ())
    }
    call, call_args, call_kwargs = (fields.pop(name, None) for name in ("call", "call_args", "call_kwargs"))
    others = {"--from": source, "--call": call, "--notebook": notebook["notebook"], "the cell": context.cell}
    _require_one_source(arguments, words, others, fields)
    queue = context.queue(create=True)
    for name in {"after", "after_any"}.intersection(fields):
        fields[name] = find_ids(queue, fields[name])
    if "shell" in fields and (call is not None or context.cell is not None):
        raise BadInput(f"--shell is for commands, not for {'Python cells' if call is None else '--call'}")
    if (spec := job_sources.notebook_spec(queue, notebook, {**defaults, **fields})) is not None:
        pass
    elif call is not None:
        spec = _call_spec(queue, call, call_args, call_kwargs, {**defaults, **fields})
    elif context.cell is not None:
        from queuectl_nb.client.cell import make_cell_spec

        spec = make_cell_spec(queue.path, context.cell, {**defaults, **fields}, resume=resume)
    elif call_args or call_kwargs:
        raise BadInput("--args and --kwargs are for --call MODULE:FUNCTION")
    elif source is not None:
        return _enqueue_lines(queue, source, fields, context.program, modes)
    else:
        if words is not None:
            fields["command"] = _join_words(words)
        elif arguments:
            fields = _merge_options(job_sources.parse_object(arguments[0], "the job"), fields)
        spec = make_spec({**defaults, **fields})
    return _enqueue_one(queue, spec, context.program, modes)


def _call_spec(
    queue: Queue, call: str, call_args: str | None, call_kwargs: str | None, fields: Mapping[str, Any]
) -> JobSpec:
    """Return the spec of a job that calls a function by name."""
    from queuectl_nb.client.function import Call, FunctionPickler
    from queuectl_nb.client.task import make_call_spec

    arguments = job_sources.parse_json(call_args or "[]", "--args", list, "array")
    keywords = job_sources.parse_json(call_kwargs or "{}", "--kwargs", dict, "object")
    calls = [Call(arguments, keywords)]
    return make_call_spec(FunctionPickler(queue.path, call), calls, fields, chunk=False, resume=True)


def _require_one_source(
    arguments: Sequence[str],
    words: Sequence[str] | None,
    others: Mapping[str, object],
    fields: Mapping[str, Any],
) -> None:
    """Raise ``BadInput`` unless the job is given in exactly one way."""
    sources = {
        "--command": "command" in fields,
        "words after --": words is not None,
        "JSON": bool(arguments),
        **{option: value is not None for option, value in others.items()},
    }
    chosen = [name for name, given in sources.items() if given]
    if len(chosen) != 1:
        found = f"not {' and '.join(chosen)}" if chosen else "none was given"
        ways = "--command C, -- ARG..., a JSON object, --from FILE, --call M:F, or --notebook FILE"
        raise BadInput(f"give the job in one way: {ways}; {found}")
    if len(arguments) > 1:
        raise BadInput("give one JSON object; use --from FILE for several jobs")
    for name in ("id", "key"):
        if name in fields and others["--from"] is not None:
            raise BadInput(f"--{name} cannot be combined with --from; put the {name}s into the lines")


def _join_words(words: Sequence[str]) -> str:
    """Return words as a command, quoted for the shell."""
    import shlex

    if not words or not words[0]:
        raise BadInput("there is no command after --")
    return shlex.join(words)


def _enqueue_one(queue: Queue, spec: JobSpec, program: str, modes: Mapping[str, bool]) -> Done:
    from queuectl_nb.client.enqueue import enqueue_specs

    start = time.time()
    added = enqueue_specs(queue, [spec], **modes)
    (job_id,) = added.ids
    line, announce = f"Job enqueued: {job_id} (priority: {spec.priority})", True
    notes = _notes(queue, [spec], added, program)
    if added.resumed is not None and not added.resumed.enqueued:
        line = f"Job {job_id} {'retried' if added.resumed.retried else 'kept'}: {queue.store.jobs.get(job_id).state}."
    elif modes["if_absent"] and queue.store.jobs.get(job_id).created_at < start:
        line, notes = f"Job {job_id} is already in the queue.", list
    elif spec.after and queue.store.jobs.get(job_id).is_finished:
        announce = False  # cancelled; a note says why
    else:
        line, announce = line + _start_condition(spec), False
    return Done([line], lambda: queue.job(job_id).to_dict(), lambda: queue.job(job_id), notes=notes, announce=announce)


def _notes(queue: Queue, specs: Sequence[JobSpec], added: Inserted, program: str) -> Callable[[], list[str]]:
    """Return a function that returns the notes about these jobs, each once."""

    def read() -> list[str]:
        from queuectl_nb.client.hints import timeout_hint, waiting_hints

        notes, jobs = [], list(zip(specs, added.ids, strict=True))
        known = [each for spec, each in jobs if spec.after or added.resumed is not None]  # others are new
        states = queue.store.reader.states_of(known) if known else {}
        started = [spec for spec, job_id in jobs if states.get(job_id) not in FINISHED_STATES]
        if cancelled := [each for spec, each in jobs if spec.after and states.get(each) == State.CANCELLED]:
            job = queue.store.jobs.get(cancelled[0])
            others = f", and {len(cancelled) - 1} more" if len(cancelled) > 1 else ""
            notes.append(f"job {job.id} was cancelled: {job.error}{others}; retry that job, then this one")
        if any(spec.timeout is None for spec in started) and (hint := timeout_hint(queue.store)):
            notes.append(hint)
        queues = {spec.queue for spec in started}
        return notes + (waiting_hints(queue.store, queues, program=program) if queues else [])

    return read


def _start_condition(spec: JobSpec) -> str:
    """Return when a job that does not start at once will start, as a sentence."""
    if spec.run_at is not None and spec.run_at > time.time():
        from queuectl_nb.model.times import format_time
        from queuectl_nb.render.text_table import local_time, zone_name

        return f". Will run at {local_time(format_time(spec.run_at))} {zone_name()}."
    if spec.delay:
        return f". Will run after {spec.delay:.15g} seconds."
    parts = [", ".join(spec.after), f"any end of {', '.join(spec.after_any)}" if spec.after_any else ""]
    return f". Will run after {' and '.join(filter(None, parts))}." if any(parts) else ""


def _enqueue_lines(
    queue: Queue, source: str, common: Mapping[str, Any], program: str, modes: Mapping[str, bool]
) -> Done:
    """Add the jobs of a file of JSON lines; ``common`` are fields for lines without them."""
    from queuectl_nb.client.batch import Batch, describe_resumed
    from queuectl_nb.client.enqueue import enqueue_specs, locate_errors, make_spec

    specs, numbers = [], []
    for number, line in enumerate(job_sources.read_lines(source), 1):
        if not line.strip():
            continue
        try:
            specs.append(make_spec({**common, **job_sources.parse_object(line, "the line")}))
        except BadInput as error:
            raise BadInput(f"line {number}: {error}; nothing was enqueued") from None
        numbers.append(number)
    with locate_errors(lambda index: f"line {numbers[index]}", "; nothing was enqueued"):
        added = enqueue_specs(queue, specs, **modes)
    text = f"{len(added.ids)} jobs enqueued" if added.resumed is None else describe_resumed(added.resumed)
    data, notes = partial(jobs_data, queue, added.ids), _notes(queue, specs, added, program)
    return Done([text], data, lambda: Batch(queue, added.ids, added.resumed), notes=notes)


def _merge_options(job: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the JSON job and the options; refuse a field that is in both."""
    twice = [key for key in options if key in job]
    if twice:
        raise BadInput(f"{twice[0]} is given in the JSON and as an option")
    return {**job, **options}
