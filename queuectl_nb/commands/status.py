"""``status``: show the number of jobs by state, and the workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from queuectl_nb.client.eta import read_eta
from queuectl_nb.client.hints import db_option, disk_hints, empty_hints, waiting_hints
from queuectl_nb.client.workers import served_queues, status_with
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.results import Detail, Table
from queuectl_nb.store.limits import read_limits

__all__ = ["status_command"]


@queuectl_command("status")
def status_command(context: Context) -> Detail:
    """Show the number of jobs by state, the time left, and the workers."""
    queue = context.queue()
    eta = read_eta(queue.store)
    status = status_with(queue.store, eta)
    waiting = waiting_hints(queue.store, program=context.program)

    notes = []
    if status["paused"]:
        names = "all queues" if status["paused"] == ["*"] else ", ".join(status["paused"])
        notes.append(f"Paused: {names} (use '{context.program} resume{db_option(queue.store)}')")
    if limits := read_limits(queue.store.db):
        notes.append(f"Limits: {', '.join(f'{each.queue} {each.limit} ({each.running} running)' for each in limits)}")
    if str(eta):
        notes.append(str(eta))

    states = Counter(worker["state"] for worker in status["workers"])
    summary = ", ".join(f"{count} {state}" for state, count in states.items())

    def blocks() -> Iterator[str | Table]:
        yield "Job Status Summary:"
        yield Table(("state", "count"), list(status["counts"].items()))
        yield from notes
        yield "\nWorkers:"
        if not status["workers"]:
            start = f"{context.program} worker start{db_option(queue.store)}"
            yield "none" if waiting else f"none; start some with '{start}'"  # the hint says it
            return
        keys = ("name", "pid", "host", "state", "job_id")
        serves = served_queues(queue.store)
        rows = [[*(worker[key] for key in keys), serves.get(worker["name"]) or "all"] for worker in status["workers"]]
        yield Table(("Name", "PID", "Host", "State", "Job", "Queues"), rows)

    return Detail(
        blocks,
        data=lambda: status,
        value=queue.status,
        records=lambda: [{"state": state, "count": n} for state, n in status["counts"].items()],
        hints=lambda: [
            *(waiting or empty_hints(queue.store)),
            *disk_hints(queue.store, context.program),
        ],
        notes=[*notes, f"Workers: {summary or 'none'}"],
    )
