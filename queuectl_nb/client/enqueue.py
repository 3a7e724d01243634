"""From what a user wishes to jobs in the file: wishes are checked, surroundings recorded, workers rung."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from queuectl_nb.client import surroundings
from queuectl_nb.client.bells import notify_idle_worker
from queuectl_nb.client.job import Job
from queuectl_nb.model.errors import BadInput, NotFound
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.insert import insert_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from queuectl_nb.store.store import Store

__all__ = ["insert_specs", "make_spec", "make_specs", "name_the_row"]


def make_spec(fields: Mapping[str, Any], resolve: Callable[[str], str] = surroundings.resolve_cwd) -> JobSpec:
    """Check one wish with the fields of a job: ``after`` may hold jobs, ``cwd`` must be a directory."""
    after = fields.get("after")
    if isinstance(after, Job):
        fields = {**fields, "after": [after.id]}
    elif isinstance(after, Iterable) and not isinstance(after, str):
        fields = {**fields, "after": [one.id if isinstance(one, Job) else one for one in after]}
    spec = JobSpec.from_fields(fields)
    return spec if spec.cwd is None else spec._replace(cwd=resolve(spec.cwd))


def make_specs(rows: Iterable[Mapping[str, Any]], *, single: bool) -> list[JobSpec]:
    """Check many wishes; what is wrong names its row, unless it is a ``single`` one."""
    resolve = cache(surroundings.resolve_cwd)
    specs: list[JobSpec] = []
    try:
        for wish in rows:
            specs.append(make_spec(wish, resolve))  # noqa: PERF401 - how far it came is told
    except BadInput as refused:
        if single:
            raise
        msg = f"row {len(specs) + 1}: {refused}"
        raise BadInput(msg) from None
    return specs


@contextmanager
def name_the_row(name: Callable[[int], str], end: str = "") -> Iterator[None]:
    """Let an error about one of many jobs begin with what ``name`` calls its place, and close with ``end``."""
    try:
        yield
    except (BadInput, NotFound) as refused:
        if refused.index is None:
            raise
        msg = f"{name(refused.index)}: {refused}{end}"
        raise type(refused)(msg) from None


def insert_specs(store: Store, specs: Sequence[JobSpec], *, if_absent: bool, interpreter_first: bool) -> list[str]:
    """Write checked specs in one transaction, all or none, and wake a worker; return their ids."""
    if if_absent and any(spec.id is None for spec in specs):
        msg = "--if-absent needs an id to look for; give --id"
        raise BadInput(msg)
    if not specs:
        return []
    anywhere = any(spec.cwd is None for spec in specs)
    lead = surroundings.interpreter_dir() if interpreter_first else None
    ids = insert_jobs(
        store.db,
        specs,
        cwd=surroundings.current_dir() if anywhere else "",
        recorded_env=surroundings.recorded_env(store.settings.read().keep_env, os.environ, first_path=lead),
        now=time.time(),
        if_absent=if_absent,
    )
    notify_idle_worker(store)
    return ids
