"""Change fields of jobs that have not finished."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.enqueue import plain_fields
from queuectl_nb.client.job_actions import notify_idle_worker, notify_workers, report_progress
from queuectl_nb.client.selection import choose_jobs
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import EDIT_FIELDS, parse_fields
from queuectl_nb.model.validation import parse_choice
from queuectl_nb.store.boot_time import read_boot_time
from queuectl_nb.store.edit import edit_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.client.arguments import Jobs
    from queuectl_nb.store.store import Store

__all__ = ["edit"]

SELECTION_WORDS = {"state": "state", "in_queue": "queue", "with_tag": "tag", "error": "error", "search": "search"}
"""Keywords that select jobs, and their names in a selection; ``queue`` and ``tags`` are new values here."""


def edit(store: Store, jobs: Sequence[Jobs], words: Mapping[str, Any], *, dry_run: bool = False) -> list[str]:
    """Change fields of jobs, wake the workers that this concerns, and return the ids of the jobs.

    ``words`` are the changes, and the selection unless jobs are given. All given jobs are changed, or none.
    """
    for name in words:
        parse_choice("keyword", name, (*EDIT_FIELDS, *SELECTION_WORDS))
    fields = parse_fields(
        plain_fields({name: value for name, value in words.items() if name not in SELECTION_WORDS}), EDIT_FIELDS
    )
    selection = {given: words[word] for word, given in SELECTION_WORDS.items() if word in words}
    chosen = choose_jobs(jobs, selection)  # type: ignore[arg-type]  # checked there
    if not fields:
        raise BadInput(f"there is nothing to change; give one of {', '.join(EDIT_FIELDS)}")
    if not chosen:
        if jobs:
            return []  # such as those of an empty batch
        raise BadInput(f"give the ids of jobs, or select them with {', '.join(SELECTION_WORDS)}")
    edited, workers, now, boottime = list[str](), set[str](), time.time(), read_boot_time()
    if isinstance(chosen, list):
        edited, workers = edit_jobs(store.db, list(dict.fromkeys(chosen)), fields, now, boottime, dry_run=dry_run)
    else:
        from queuectl_nb.store.selections import edit_selected

        with report_progress(lambda: len(edited), "edited"):
            for ids, batch_workers in edit_selected(store.db, chosen, fields, now, boottime, dry_run=dry_run):
                edited += ids
                workers |= batch_workers
    if not dry_run:
        notify_workers(store, workers)
        notify_idle_worker(store)
    return edited
