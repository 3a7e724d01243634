"""``worker``: start workers, stop those that run anywhere on the queue, list them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.client import workers
from queuectl_nb.client.queue import MAX_WORKERS
from queuectl_nb.client.workers import EXECUTORS, MAX_IN_FLIGHT
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
@click.option("--count", type=TextParam(), default="1", metavar="N", help="How many (1); with dask, jobs at a time.")
@click.option("--queue", "queues", type=QUEUE, multiple=True, help="Only jobs of this queue; repeatable.")
@click.option("--drain", is_flag=True, help="End when every job is at rest, delayed ones and retries waited for.")
@click.option("--detach", is_flag=True, help="Return at once; they outlive this terminal.")
@click.option(
    "--executor", type=EXECUTOR, default="local", metavar="NAME", help="Where jobs run: local or dask (local)."
)
@click.option("--scheduler", type=TextParam(), metavar="ADDRESS", help="dask's; without it a cluster on this host.")
@click.option(
    "--resource", "resources", type=TextParam(), metavar="K=N", multiple=True, help="Of dask, a job; repeatable."
)
@click.pass_obj
def start(  # noqa: PLR0913 - one parameter an option
    session: Context,
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

    The first Ctrl+C lets running jobs finish, the second gives them back. With --executor dask one worker, a
    dispatcher, has up to N jobs at a time running on a dask cluster.
    """
    number = validation.parse_int("--count", count, 1, MAX_IN_FLIGHT if executor == "dask" else MAX_WORKERS)
    takes = dict(_parse_resource(word) for word in resources)
    pool = session.queue().start_workers(
        number,
        queues=queues,
        drain=drain,
        detach=detach,
        executor=executor,
        scheduler=scheduler,
        resources=takes,
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
@click.option("--now", is_flag=True, help="Give their jobs back instead of finishing them.")
@click.pass_obj
def stop(session: Context, *, names: Sequence[str], now: bool) -> Done:
    """Ask workers to finish their job and end.

    All workers on this queue, when none is named. Waits until they have ended.
    """
    queue = session.queue()

    def lasts(left: Sequence[str]) -> None:
        if session.notify is not None:
            session.notify(f"waiting for {', '.join(left)} to end" + ("" if now else "; --now gives their jobs back"))

    stopped = workers.stop_workers(queue.store, names, now=now, timeout=None, on_wait=lasts)
    return Done([f"{len(stopped)} worker(s) stopped."], lambda: stopped, no_value)


@queuectl_command("list")
@click.pass_obj
def list_(session: Context) -> Listing:
    """List the workers that live, and those lost and not yet cleaned up."""
    queue = session.queue()
    found = queue.worker_list()
    return Listing(
        WORKER_FIELDS,
        COLUMNS,
        lambda limit: found[:limit],
        value=queue.workers,
        empty_text="No workers; 'queuectl worker start' starts some.",
    )


@click.group("worker", cls=CommandGroup)
def command() -> None:
    """Start, stop and list workers."""


add_db_options(command)
for each in (start, stop, list_):
    command.add_command(each)
