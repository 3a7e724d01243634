"""Collects output and result of an ended attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.model.attempt import DISK_FULL_NOTE, Ending
from queuectl_nb.model.call import Kind
from queuectl_nb.model.failure import MAX_ERROR_CHARS, cut
from queuectl_nb.model.outcome import Exited, NotStarted, Raised
from queuectl_nb.store.calls import add_displays, parse_reply
from queuectl_nb.store.output import EMPTY_STREAM, limit_files, normalize_json, read_truncated
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.call import CallValue
    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.spool import Spool

__all__ = ["add_reply", "capture_ending", "read_reply"]

_NONE: frozenset[str] = frozenset()
MAX_REPR_CHARS = 1000


def capture_ending(
    spool: Spool, token: str, paths: Mapping[str, str], settings: Settings, ending: Ending
) -> tuple[Ending, frozenset[str]]:
    """Return ``ending`` with all that an attempt has left, and the names of the files that must be kept.

    ``paths`` are the files of its streams; artifacts are in ``ending``. No process of the attempt is left.
    """
    limit = settings.output_limit
    result, note = spool.read_result(token)
    artifacts, metrics = ending.artifacts, spool.read_metrics(token, ending.started_at)
    try:
        out, err = [read_truncated(paths[stream], limit) if stream in paths else EMPTY_STREAM for stream in STREAMS]
    except OSError as error:
        out = err = EMPTY_STREAM
        note = f"its output could not be read: {error.strerror}"
    spooled = [stream for stream, each in zip(STREAMS, (out, err), strict=True) if each.spooled]
    lost = limit_files([paths[stream] for stream in spooled], settings)
    note = note or ending.note or (DISK_FULL_NOTE if lost else None) or (artifacts.note if artifacts else None)
    ending = Ending(
        *(*ending[:3], *out[:3], *err[:3], result, ending.host, note),
        artifacts=artifacts,
        metrics=metrics,
        usage=ending.usage,
    )
    if not (spooled or artifacts):
        return ending, _NONE
    return ending, frozenset([*spooled, "artifacts"] if artifacts and artifacts.files else spooled)


def read_reply(spool: Spool, lease: Lease, name: str) -> str:
    """Return the reply of a Python job from the files of ``name``, with what a cell has displayed."""
    reply = spool.read_reply(name)
    return add_displays(spool, lease.token, reply) if lease.kind == Kind.CELL else reply


def add_reply(reply: str, outcome: Outcome, ending: Ending) -> tuple[Outcome, Ending, list[str]]:
    """Return outcome and ending of a Python job with the reply that its process has written about its calls.

    The last value is the list of the modules that it has imported.
    """
    values, facts = parse_reply(reply)
    modules = facts.get("modules")
    names = [name for name in modules if isinstance(name, str)] if isinstance(modules, list) else []
    outcome, ending = _merge(outcome, ending, values, facts)
    if "result" in facts and outcome != Exited(0):
        # of a job that is not a chunk: a value counts only if its attempt has succeeded, as the next one calls again
        kept = tuple(value for value in ending.values if value.raised or not _is_of_call(value))
        ending = ending._replace(values=kept, result=None, result_repr=None)
    return outcome, ending, names


def _is_of_call(value: CallValue) -> bool:
    """Return False for the variables and the output of a cell."""
    return value.call >= 0 and value.name is None


def _merge(
    outcome: Outcome, ending: Ending, values: Sequence[CallValue], facts: Mapping[str, Any]
) -> tuple[Outcome, Ending]:
    shown = facts.get("repr")
    ending = ending._replace(
        values=tuple(values),
        result=_valid_json(facts.get("result")),
        result_repr=shown[:MAX_REPR_CHARS] if isinstance(shown, str) else None,
    )
    if not isinstance(outcome, Exited):
        return outcome, ending
    if isinstance(why := facts.get("not_started"), str):
        return NotStarted(cut(why, MAX_ERROR_CHARS), final=True), ending
    error = facts.get("error")
    if not isinstance(error, str):
        if outcome.code:
            return outcome, ending
        last = values[-1] if values else None  # of a cell: its value, unless its process ended before
        returned = last is not None and not last.raised and _is_of_call(last) and "result" in facts
        returned = returned or facts.get("returned") is True  # all calls of a chunk
        return (outcome if returned else Raised("ended without a value", 0)), ending
    after = facts.get("retry_after")
    valid = isinstance(after, int | float) and after >= 0
    return Raised(cut(error, MAX_ERROR_CHARS), outcome.code, after if valid else None, bool(facts.get("final"))), ending


def _valid_json(text: object) -> str | None:
    """Return JSON that the database accepts, or None."""
    if not isinstance(text, str):
        return None
    try:
        return normalize_json(text.encode())
    except (ValueError, RecursionError):
        return None
