"""``worker``: start, stop, scale and list workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from queuectl_nb.client import workers
from queuectl_nb.client.hints import db_option
from queuectl_nb.client.scale import parse_size
from queuectl_nb.client.workers import EXECUTORS, MAX_IN_FLIGHT, MAX_WORKERS
from queuectl_nb.commands.app import command_group, queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import QUEUE, Choice, Parsed, TextParam
from queuectl_nb.commands.results import Listing, StartedPool
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput
from queuectl_nb.render.json_shapes import WORKER_FIELDS

__all__ = ["list_", "scale", "start", "stop", "worker_command"]

COLUMNS = (
    ("Name", "name"),
    ("PID", "pid"),
    ("Host", "host"),
    ("State", "state"),
    ("Job", "job_id"),
    ("Started", "started_at"),
    ("Jobs Done", "jobs_done"),
    ("Queues", "serves"),
)
NAME = TextParam("NAME", read=lambda queue, _incomplete: [row.name for row in queue.store.workers.list_all()])


def _parse_resource(name: str, word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        raise BadInput(f"{name} {validation.quoted(word)} must be K=N, such as GPU=1")
    return key, value


@queuectl_command(
    "start",
    examples=["queuectl worker start --count 4", "queuectl worker start --drain", "queuectl worker start --detach"],
    format_options=False,
)
@click.option(
    "-n", "--count", type=TextParam("N"), default="1", help="Number of workers (default 1); with dask, concurrent jobs."
)
@click.option("-q", "--queue", "queues", type=QUEUE, multiple=True, help="Run only jobs of this queue; repeatable.")
@click.option("--drain", is_flag=True, help="Stop when all jobs have finished, including delayed jobs and retries.")
@click.option("--detach", is_flag=True, help="Return at once; the workers keep running without this terminal.")
@click.option("--executor", type=Choice("executor", EXECUTORS), help="Where jobs run (default: local).")
@click.option(
    "--scheduler", type=TextParam("ADDRESS"), help="Address of the dask scheduler (default: a cluster on this host)."
)
@click.option(
    "--resource",
    "resources",
    type=Parsed("K=N", _parse_resource),
    multiple=True,
    help="Dask resource that each job needs; repeatable.",
)
def start(
    context: Context, /, *, count: str, executor: str | None, resources: Sequence[tuple[str, str]], **options: Any
) -> StartedPool:
    """Run workers until Ctrl+C.

    The first Ctrl+C waits for running jobs, the second returns them to the queue. With --executor dask one worker,
    the dispatcher, runs up to N jobs at a time on a dask cluster.
    """
    number = validation.parse_int("--count", count, 1, MAX_IN_FLIGHT if executor == "dask" else MAX_WORKERS)
    context.pool = context.queue(create=True).start_workers(
        number, executor=executor or "local", resources=dict(resources), **options
    )
    return StartedPool(context.pool)


@queuectl_command("stop", examples=["queuectl worker stop", "queuectl worker stop worker-1 --now"])
@click.argument("names", nargs=-1, type=NAME)
@click.option("--now", is_flag=True, help="Return running jobs to the queue instead of waiting for them.")
def stop(context: Context, *, names: Sequence[str], now: bool) -> Done:
    """Stop workers after their current job.

    Without names, stop all workers of this queue. Waits until they have stopped.
    """
    queue = context.queue() if names else context.queue_or_reason()
    if isinstance(queue, str):  # nothing runs on a queue that does not exist; it may be a mistyped path
        return Done(["0 worker(s) stopped."], list, notes=lambda: [queue])

    def on_wait(left: Sequence[str]) -> None:
        if context.notify is not None:
            hint = "" if now else "; use --now to return their jobs to the queue"
            context.notify(f"waiting for {', '.join(left)} to stop{hint}")

    stopped = workers.stop_workers(queue.store, names, now=now, timeout=None, on_wait=on_wait)
    left = workers.unrecorded_results(queue.store, stopped)
    notes = [f"{left} result(s) are only in the journals of the workers; the next workers record them"] if left else []
    return Done([f"{len(stopped)} worker(s) stopped."], lambda: stopped, notes=lambda: notes)


@queuectl_command(
    "scale",
    examples=["queuectl worker scale 8", "queuectl worker scale 2 --pool worker-3"],
)
@click.argument("count", metavar="N", type=TextParam("N"))
@click.option("--pool", metavar="WORKER", type=NAME, help="The pool of this worker; needed if several are running.")
def scale(context: Context, /, *, count: str, pool: str | None) -> Done:
    """Change the number of workers of a running pool to N.

    Surplus workers stop after their current job. Pools on dask are scaled with their cluster.
    """
    names = context.queue().scale_workers(parse_size(count), pool)
    return Done([f"Scaled to {len(names)} worker(s): {', '.join(names)}"], lambda: names)


@queuectl_command("list")
def list_(context: Context) -> Listing:
    """List workers: live ones, and lost ones not cleaned up yet."""
    queue = context.queue()
    found = workers.list_workers(queue.store)
    serves = workers.served_queues(queue.store)
    return Listing(
        WORKER_FIELDS,
        COLUMNS,
        lambda _limit: [{**worker, "serves": serves.get(worker["name"]) or "all"} for worker in found],
        value=queue.workers,
        data=lambda: found,
        empty_text=f"No workers; start some with '{context.program} worker start{db_option(queue.store)}'.",
    )


worker_command = command_group("worker", "Start, stop, scale and list workers.", start, stop, scale, list_)
