"""Choosing jobs: by id, or by their properties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from queuectl_nb.client.arguments import parse_ids
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.validation import parse_choice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuectl_nb.client.arguments import Jobs
    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.store import Store

__all__ = [
    "Selection",
    "choose_dead_jobs",
    "choose_jobs",
    "find_filter",
    "known_ids",
    "make_filter",
    "selected_ids",
    "selection_of",
]


class Selection(TypedDict, total=False):
    """The properties that select jobs; a job must have all of those that are given."""

    state: str | Sequence[str] | None
    """One of these states."""
    queue: str | None
    tag: str | None
    error: str | None
    """The key of a group of failures, see ``Queue.errors``."""
    search: str | None
    """Literal text in id or command, ignoring the case of ASCII letters."""


def choose_jobs(jobs: Iterable[Jobs], selection: Selection) -> list[str] | Filter:
    """Return the given ids, or the filter of the selection; raise ``BadInput`` for both."""
    ids, job_filter = parse_ids(jobs), make_filter(selection)
    given = ", ".join(name for name, value in selection.items() if value is not None)
    if ids and given:
        raise BadInput(f"give jobs or a selection ({given}), not both")
    return job_filter if given else ids


def make_filter(selection: Selection, **order: Any) -> Filter:
    """Return the filter of a selection, with other options of ``Filter.from_options``; refuse unknown properties."""
    from queuectl_nb.store.job_filter import Filter

    for name in selection:
        parse_choice("selection", name, Selection.__annotations__)
    return Filter.from_options(**selection, **order)


def choose_dead_jobs(jobs: Iterable[Jobs], selection: Selection, *, all_dead: bool) -> list[str] | Filter:
    """Choose dead jobs like :func:`choose_jobs`, or all with ``all_dead``; raise ``BadInput`` for neither or both."""
    from queuectl_nb.store.job_filter import Filter

    chosen = choose_jobs(jobs, selection)
    if bool(chosen) == all_dead:
        raise BadInput("give the ids of dead jobs, a selection, or all=True").with_option("all=True", "--all")
    return chosen or Filter()


def find_filter(store: Store, jobs: Sequence[Jobs], selection: Selection) -> Filter:
    """Return the filter of given or selected jobs, or of all without either; raise ``NotFound`` for an unknown id."""
    from queuectl_nb.store.job_filter import Filter

    chosen = choose_jobs(jobs, selection)
    if isinstance(chosen, Filter):
        return chosen
    for job_id in chosen:
        store.jobs.get(job_id)
    return Filter(ids=tuple(chosen) if jobs else None)


def selection_of(job_filter: Filter) -> Selection:
    """Return the properties by which a filter selects jobs; none for all jobs."""
    values = {name: getattr(job_filter, name) for name in Selection.__annotations__}
    return cast("Selection", {name: value for name, value in values.items() if value})


def selected_ids(store: Store, chosen: list[str] | Filter) -> list[str]:
    """Return the ids, or those of the filter's jobs."""
    return chosen if isinstance(chosen, list) else store.reader.ids(chosen)


def known_ids(store: Store, jobs: Iterable[Jobs], selection: Selection) -> list[str] | None:
    """Return the ids of given or selected jobs, None for all; raise :class:`NotFound` for an unknown one."""
    chosen = choose_jobs(jobs, selection)
    if not chosen:
        return None if not tuple(jobs) else []
    for job_id in chosen if isinstance(chosen, list) else ():
        store.jobs.get(job_id)
    return selected_ids(store, chosen)
