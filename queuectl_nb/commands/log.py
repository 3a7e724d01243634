"""``log``: show the output of a job, stored or live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client.logs import Logs
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import JOB, TextParam
from queuectl_nb.commands.results import Output
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.state import FINISHED_STATES, State
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.context import Context

__all__ = ["command"]


@queuectl_command("log")
@click.argument("job_id", metavar="ID", type=JOB)
@click.option("--attempt", type=TextParam(), metavar="N", help="Show this attempt instead of the latest.")
@click.option("--stdout", is_flag=True, help="Show only stdout, without the header.")
@click.option("--stderr", is_flag=True, help="Show only stderr, without the header.")
@click.option("--tail", type=TextParam(), metavar="N", help="Show only the last N lines of each stream.")
@click.option("--follow", is_flag=True, help="Follow the output until the job finishes.")
@click.pass_obj
def command(context: Context, /, *, job_id: str, follow: bool, **options: Any) -> Output:
    """Show the output of a job."""
    number = None if options["attempt"] is None else validation.parse_int("--attempt", options["attempt"], 1)
    tail = None if options["tail"] is None else validation.parse_int("--tail", options["tail"], 0)
    chosen = [stream for stream in STREAMS if options[stream]]
    if follow and context.format != "table":
        msg = f"--follow prints raw output; it cannot be combined with --format {context.format}"
        raise BadInput(msg)
    queue = context.queue()
    logs = Logs(queue.store)
    state, error = _state_and_error(queue, job_id)
    attempt = logs.attempt(job_id, number)
    if number is not None:
        error = None if attempt is None else attempt.error
    streams = chosen or list(STREAMS)

    attempts: list[int] = []

    def pieces() -> Iterator[tuple[str, bytes]]:
        live = logs.follow(job_id, number, tail, attempts.append)
        found = live if follow else _stored_chunks(queue, job_id, number, tail)
        return ((stream, data) for stream, data in found if stream in streams)

    return Output(
        job_id,
        state,
        streams,
        pieces,
        data=lambda: _attempt_data(queue, job_id, number, tail),
        value=lambda: queue.job(job_id).log(chosen[0] if len(chosen) == 1 else None, attempt=number, tail=tail),
        with_header=not chosen,
        live=follow,
        number=number,
        error=error,
        attempts=attempts,
        final_state=(lambda: _state_and_error(queue, job_id)) if follow else None,
    )


def _state_and_error(queue: Queue, job_id: str) -> tuple[str, str | None]:
    """Return the state of a job, and its error if it has failed."""
    job = queue.store.jobs.get(job_id)
    return str(job.state), job.error if job.state in FINISHED_STATES or job.state is State.FAILED else None


def _stored_chunks(queue: Queue, job_id: str, number: int | None, tail: int | None) -> Iterator[tuple[str, bytes]]:
    """Yield the stored output, stream by stream; a large stream is never held in memory as a whole."""
    logs = Logs(queue.store)
    attempt = logs.attempt(job_id, number)
    if attempt is None:
        return
    for stream in STREAMS:
        start = 0 if tail is None else logs.tail_offset(attempt, stream, tail)
        for piece in logs.iter_chunks(attempt, stream, start):
            yield stream, piece


def _attempt_data(queue: Queue, job_id: str, number: int | None, tail: int | None) -> dict[str, Any] | None:
    """Return an attempt as a JSON object, with the output so far if it is running; None if there is no attempt."""
    from queuectl_nb.render.json_shapes import attempt_json, decode_stream

    logs = Logs(queue.store)
    attempt = logs.attempt(job_id, number)
    if attempt is None:
        return None
    shape = attempt_json(attempt)
    if attempt.outcome is None or tail is not None:
        log = logs.read(job_id, attempt.number, tail)
        shape["stdout"], shape["stderr"] = decode_stream(log.stdout), decode_stream(log.stderr)
    return shape
