"""Reads what the card of a job shows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from queuectl_nb.client.artifacts import read_artifacts
from queuectl_nb.client.cell_outputs import read_cell_facts
from queuectl_nb.client.hints import MAGIC, job_hints, timeout_facts
from queuectl_nb.client.logs import Logs
from queuectl_nb.client.metrics import latest_metrics
from queuectl_nb.model.call import Kind
from queuectl_nb.model.state import State
from queuectl_nb.render.ansi import fold_returns
from queuectl_nb.render.cards import RunStatus, job_card
from queuectl_nb.render.progress import TAIL_BYTES, format_size, read_progress
from queuectl_nb.store.calls import executed_notebook
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from queuectl_nb.client.artifacts import JobArtifacts
    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.render.card_parts import Rendering
    from queuectl_nb.store.store import Store

__all__ = ["read_card", "read_live"]

MAX_ARTIFACTS = 5
"""Artifacts that a card names."""


def read_live(store: Store, record: JobRecord, history: list[AttemptRecord]) -> RunStatus | None:
    """Return run time and last output of a running job; None if it is not running."""
    return _read_outputs(store, record, history)[0]


def read_card(store: Store, record: JobRecord, *, static: bool = False) -> Rendering:
    """Return the card of a job, with the end of its latest output."""
    history = store.reader.attempts_without_output(record.id)
    status, outputs = _read_outputs(store, record, history)
    facts = timeout_facts(store, record, None if status is None else status.elapsed_s)
    hints = job_hints(store, record, MAGIC)
    reported = latest_metrics(store, record.id).series if status or record.metrics else ()
    cell = read_cell_facts(store, record) if record.kind == Kind.CELL else None
    artifacts = () if status or not history else _describe_artifacts(read_artifacts(store, record.id))
    notebook = None
    if record.kind == Kind.NOTEBOOK:
        notebook = executed_notebook(store.db, record.id)
        last = {name: value for name, value, _ in reported}
        facts += [f"cell {last['cell']} of {last['cells']}"] if {"cell", "cells"} <= last.keys() else []
        reported = [each for each in reported if each[0] not in {"cell", "cells"}]
    any_end = store.reader.any_end_of(record)
    notes = {"facts": facts, "hints": hints, "artifacts": artifacts, "any_end": any_end}
    return job_card(record, history, status, outputs, reported, static=static, cell=cell, notebook=notebook, **notes)


def _describe_artifacts(artifacts: JobArtifacts) -> list[str]:
    """Return the names of the first artifacts with their sizes, and what was not kept."""
    shown = [f"{each.name} ({format_size(each.size)})" for each in artifacts.files[:MAX_ARTIFACTS]]
    more = len(artifacts.files) - len(shown)
    shown += [f"{more} more"] if more else []
    return [f"artifacts: {', '.join(shown)}"] * bool(shown) + ([artifacts.note] if artifacts.note else [])


def _read_outputs(
    store: Store, record: JobRecord, history: list[AttemptRecord]
) -> tuple[RunStatus | None, dict[str, str]]:
    """Return the status of the running attempt, if any, and the end of the latest output by its name.

    A failed attempt has both streams: the error is in stderr, and what led to it in stdout.
    """
    if not history:
        return None, {}
    attempt = history[-1]
    if attempt.outcome is not None:
        endings = Logs(store).read_endings(attempt, TAIL_BYTES)
        if attempt.outcome == "succeeded" or len(endings) < len(STREAMS):
            return None, {"output": fold_returns(next(iter(endings.values()), b""))}
        return None, {stream: fold_returns(endings[stream]) for stream in STREAMS}
    tail = Logs(store).read_last_bytes(attempt, TAIL_BYTES)
    if record.state is not State.PROCESSING:
        return None, {}
    progress = read_progress(tail)
    if (reported := latest_metrics(store, record.id).progress) is not None:
        progress = progress._replace(fraction=reported)
    return RunStatus(time.time() - attempt.started_at, progress), {"output": fold_returns(tail)}
