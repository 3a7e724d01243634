"""``log``: show the output of a job, stored or live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client.hints import job_hints
from queuectl_nb.client.logs import Logs
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import Parsed, find_ids, job_id_type
from queuectl_nb.commands.results import Output
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput, NotFound
from queuectl_nb.model.state import FINISHED_STATES, State
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.context import Context
    from queuectl_nb.model.attempt import AttemptRecord

__all__ = ["log_command"]


@queuectl_command("log", examples=["queuectl log --follow", "queuectl log job-1 --stdout --tail 20"])
@click.argument("job_id", required=False, type=job_id_type())
@click.option("--attempt", type=Parsed("N", validation.parse_int, 1), help="Show this attempt instead of the latest.")
@click.option("--stdout", is_flag=True, help="Show only stdout, without the header.")
@click.option("--stderr", is_flag=True, help="Show only stderr, without the header.")
@click.option(
    "-n", "--tail", type=Parsed("N", validation.parse_int, 0), help="Show only the last N lines of each stream."
)
@click.option("-f", "--follow", is_flag=True, help="Follow the output until the job finishes.")
def log_command(
    context: Context, /, *, job_id: str | None, attempt: int | None, tail: int | None, follow: bool, **chosen: bool
) -> Output:
    """Show the output of a job.

    Without an id, show the job that was enqueued last.
    """
    if follow and context.format != "table":
        raise BadInput(f"--follow prints raw output; it cannot be combined with --format {context.format}")
    only = [stream for stream in STREAMS if chosen[stream]]
    streams = only or list(STREAMS)
    queue = context.queue()
    job_id = _newest(queue) if job_id is None else find_ids(queue, [job_id])[0]
    logs = Logs(queue.store)
    state, error = _state_and_error(queue, job_id)
    found = logs.attempt(job_id, attempt)
    if attempt is not None:
        error = None if found is None else found.error
    attempts: list[int] = []

    def chunks() -> Iterator[tuple[str, bytes]]:
        live = logs.follow(job_id, attempt, tail, on_attempt=attempts.append)
        pieces = live if follow else _stored_chunks(logs, found, tail)
        return ((stream, data) for stream, data in pieces if stream in streams)

    hints = job_hints(queue.store, queue.store.jobs.get(job_id), context.program) if follow else ()
    return Output(
        job_id,
        state,
        streams,
        chunks,
        data=lambda: None if found is None else _attempt_data(logs, found, tail),
        value=lambda: queue.job(job_id).log(only[0] if len(only) == 1 else None, attempt=attempt, tail=tail),
        with_header=not only,
        live=follow,
        number=attempt,
        error=error,
        attempts=attempts,
        final_state=(lambda: _state_and_error(queue, job_id)) if follow else None,
        hints=hints,
    )


def _newest(queue: Queue) -> str:
    found = queue.store.reader.newest_id()
    if found is None:
        raise NotFound(f"no jobs in {queue.path}; add one with 'queuectl enqueue'")
    return found


def _state_and_error(queue: Queue, job_id: str) -> tuple[str, str | None]:
    """Return the state of a job, and its error if it has failed."""
    job = queue.store.jobs.get(job_id)
    return str(job.state), job.error if job.state in FINISHED_STATES or job.state is State.FAILED else None


def _stored_chunks(logs: Logs, attempt: AttemptRecord | None, tail: int | None) -> Iterator[tuple[str, bytes]]:
    """Yield the stored output, stream by stream; a large stream is never held in memory as a whole."""
    if attempt is None:
        return
    for stream in STREAMS:
        for piece in logs.iter_chunks(attempt, stream, logs.start_offset(attempt, stream, tail)):
            yield stream, piece


def _attempt_data(logs: Logs, attempt: AttemptRecord, tail: int | None) -> dict[str, Any]:
    """Return an attempt as a JSON object, with the output so far if it is running."""
    from queuectl_nb.render.json_shapes import attempt_json

    shape = attempt_json(attempt)
    if attempt.outcome is None or tail is not None:
        shape |= {stream: logs.read_text(attempt, [stream], tail) for stream in STREAMS}
    return shape
