"""Options that choose jobs by id or by their properties, and the results of commands that change these jobs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from queuectl_nb.commands.done import Done, jobs_data
from queuectl_nb.commands.params import MAX_CANDIDATES, QUEUE, STATE, TAG, TextParam, find_ids, job_id_type
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.state import ALLOWED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.client.selection import Selection

__all__ = ["NO_MATCH", "OPTIONS", "Chosen", "change_options", "changed", "choose", "selection_options", "summary"]

NO_MATCH = "No jobs match."


def _error_keys(queue: Queue) -> list[str]:
    from queuectl_nb.store.error_groups import read_error_groups
    from queuectl_nb.store.job_filter import Filter

    return [group.key for group in read_error_groups(queue.store.db, Filter(), MAX_CANDIDATES)]


OPTIONS = {
    "state": click.option(
        "--state", type=STATE, multiple=True, help="Only jobs in this state; repeatable. See 'queuectl help states'."
    ),
    "queue": click.option("-q", "--queue", type=QUEUE, help="Only jobs of this queue."),
    "tag": click.option("--tag", type=TAG, help="Only jobs with this tag."),
    "error": click.option(
        "--error",
        type=TextParam("KEY", read=lambda queue, _incomplete: _error_keys(queue)),
        help="Only jobs that failed for this reason; see 'queuectl errors'.",
    ),
    "search": click.option("--search", type=TextParam("TEXT"), help="Only jobs with this text in their id or command."),
}


def selection_options(
    states: Iterable[State] = State, options: Mapping[str, Callable[[Any], Any]] = OPTIONS
) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Add the argument ``ids``, which completes the ids of jobs in ``states``, and the options of a selection."""
    ids = click.argument("ids", metavar="[ID...]", nargs=-1, type=job_id_type(states))

    def add(function: click.decorators.FC) -> click.decorators.FC:
        for option in reversed([ids, *options.values()]):
            function = option(function)
        return function

    return add


def change_options(
    action: str, options: Mapping[str, Callable[[Any], Any]] = OPTIONS
) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Add the options of :func:`selection_options` for jobs that allow ``action``, and ``--dry-run``."""
    dry_run = click.option("--dry-run", is_flag=True, help="Change nothing; show how many jobs would be changed.")
    return lambda function: selection_options(ALLOWED_STATES[action], options)(dry_run(function))


class Chosen(NamedTuple):
    """The jobs that a command is for: their ids, or the properties that select them."""

    ids: Sequence[str]
    selection: Selection


def choose(queue: Queue, ids: Iterable[str], selection: dict[str, Any], *, required: bool = False) -> Chosen:
    """Return what was given; raise ``BadInput`` for ids and a selection, and if one is ``required``, for neither."""
    given = {name: value for name, value in selection.items() if value not in (None, ())}
    found = Chosen(find_ids(queue, ids), cast("Selection", given))
    if found.ids and found.selection:
        raise BadInput(f"give ids or a selection ({_option_names(given)}), not both")
    if required and not found.ids and not found.selection:
        raise BadInput(f"give the ids of jobs, or select them with {_option_names(selection)}")
    return found


def _option_names(selection: Iterable[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in selection)


def changed(
    queue: Queue, ids: Sequence[str], done: str, chosen: Chosen, *, dry_run: bool, empty: str = NO_MATCH
) -> Done:
    """Return the result of what was ``done`` to jobs, such as ``cancelled``."""
    data = partial(jobs_data, queue, ids)
    return summary(ids, done, chosen, data, lambda: queue.jobs(ids=ids), dry_run=dry_run, empty=empty)


def summary(
    ids: Sequence[str],
    done: str,
    chosen: Chosen,
    data: Callable[[], Any],
    value: Callable[[], Any],
    *,
    dry_run: bool,
    empty: str = NO_MATCH,
) -> Done:
    """Return the result with a line for each job, or of a selection and of a dry run with the number of jobs."""
    number = dry_run or bool(chosen.selection)
    lines = [empty]
    if ids and number:
        lines = [f"{len(ids)} job{'s'[: len(ids) > 1]} {'would be ' if dry_run else ''}{done}."]
    elif ids:
        lines = [f"Job {job_id} {done}." for job_id in ids]
    return Done(lines, data, value, announce=number)
