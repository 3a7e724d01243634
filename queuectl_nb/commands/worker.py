"""``worker``: start, stop and list workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.client import workers
from queuectl_nb.client.workers import EXECUTORS, MAX_IN_FLIGHT, MAX_WORKERS
from queuectl_nb.commands.ack import Done, no_value
from queuectl_nb.commands.app import CommandGroup, queuectl_command
from queuectl_nb.commands.params import QUEUE, WORKER, Choice, TextParam, add_db_options
from queuectl_nb.commands.results import Listing, StartedPool
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput
from queuectl_nb.render.json_shapes import WORKER_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.commands.context import Context

__all__ = ["command", "list_", "start", "stop"]

EXECUTOR = Choice("executor", EXECUTORS)
COLUMNS = (
    ("name", "name"),
    ("pid", "pid"),
    ("host", "host"),
    ("state", "state"),
    ("job", "job_id"),
    ("started", "started_at"),
    ("jobs done", "jobs_done"),
)


@queuectl_command("start", format_options=False)
@click.option(
    "--count",
    type=TextParam(),
    default="1",
    metavar="N",
    help="Number of workers (default 1); with dask, concurrent jobs.",
)
@click.option("--queue", "queues", type=QUEUE, multiple=True, help="Run only jobs of this queue; repeatable.")
@click.option("--drain", is_flag=True, help="Stop when all jobs have finished, including delayed jobs and retries.")
@click.option("--detach", is_flag=True, help="Return at once; the workers outlive this terminal.")
@click.option(
    "--executor", type=EXECUTOR, default="local", metavar="NAME", help="Where jobs run: local or dask (default local)."
)
@click.option(
    "--scheduler",
    type=TextParam(),
    metavar="ADDRESS",
    help="Address of the dask scheduler (default: a cluster on this host).",
)
@click.option(
    "--resource",
    "resources",
    type=TextParam(),
    metavar="K=N",
    multiple=True,
    help="Dask resource that each job needs; repeatable.",
)
@click.pass_obj
def start(  # noqa: PLR0913 - one parameter an option
    context: Context,
    *,
    count: str,
    queues: Sequence[str],
    drain: bool,
    detach: bool,
    executor: str,
    scheduler: str | None,
    resources: Sequence[str],
) -> StartedPool:
    """Run workers until Ctrl+C.

    The first Ctrl+C waits for running jobs, the second returns them to the queue. With --executor dask one worker,
    the dispatcher, runs up to N jobs at a time on a dask cluster.
    """
    number = validation.parse_int("--count", count, 1, MAX_IN_FLIGHT if executor == "dask" else MAX_WORKERS)
    parsed = dict(_parse_resource(word) for word in resources)
    pool = context.queue().start_workers(
        number,
        queues=queues,
        drain=drain,
        detach=detach,
        executor=executor,
        scheduler=scheduler,
        resources=parsed,
    )
    return StartedPool(pool, number, detach)


def _parse_resource(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        msg = f"--resource {validation.quoted(word)} must be K=N, such as GPU=1"
        raise BadInput(msg)
    return key, value


@queuectl_command("stop")
@click.argument("names", metavar="[NAME]...", nargs=-1, type=WORKER)
@click.option("--now", is_flag=True, help="Return running jobs to the queue instead of waiting for them.")
@click.pass_obj
def stop(context: Context, *, names: Sequence[str], now: bool) -> Done:
    """Stop workers after their current job.

    Without names, stop all workers of this queue. Waits until they have stopped.
    """
    queue = context.queue()

    def on_wait(left: Sequence[str]) -> None:
        if context.notify is not None:
            context.notify(
                f"waiting for {', '.join(left)} to stop"
                + ("" if now else "; use --now to return their jobs to the queue")
            )

    stopped = workers.stop_workers(queue.store, names, now=now, timeout=None, on_wait=on_wait)
    return Done([f"{len(stopped)} worker(s) stopped."], lambda: stopped, no_value)


@queuectl_command("list")
@click.pass_obj
def list_(context: Context) -> Listing:
    """List live workers, and lost ones that were not cleaned up yet."""
    queue = context.queue()
    found = workers.list_workers(queue.store)
    return Listing(
        WORKER_FIELDS,
        COLUMNS,
        lambda limit: found[:limit],
        value=queue.workers,
        empty_text="No workers; start some with 'queuectl worker start'.",
    )


@click.group("worker", cls=CommandGroup)
def command() -> None:
    """Start, stop and list workers."""


add_db_options(command)
for each in (start, stop, list_):
    command.add_command(each)
