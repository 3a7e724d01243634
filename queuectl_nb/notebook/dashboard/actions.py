"""The actions of the dashboard's buttons, each in a background thread so that neither page nor kernel is blocked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from queuectl_nb.client.enqueue import enqueue_specs, make_spec
from queuectl_nb.client.selection import Selection, selection_of
from queuectl_nb.model.errors import BadInput, QueuectlError, WaitTimeout
from queuectl_nb.model.state import ALLOWED_STATES
from queuectl_nb.notebook.dashboard.widgets import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.notebook.dashboard.feed import DashboardFeed
    from queuectl_nb.notebook.dashboard.widgets import Toolbar

__all__ = ["Actions", "Targets"]

STOP_TIMEOUT_S = 0.5
"""How long to wait for workers to stop; those with a running job take longer."""

DONE = {"retry": "queued again", "cancel": "cancelled", "delete": "deleted"}
"""What an action has done to its jobs."""

_pools: list[WorkerPool] = []
"""Pools started from a dashboard: they end with the kernel, not with the dashboard."""


class Actions:
    """The actions; each returns a message for the user."""

    def __init__(self, queue: Queue, report: Callable[[str, bool], None], on_done: Callable[[], None]) -> None:
        """Act on ``queue``; call ``report(text, is_error)`` with the message and ``on_done()`` after each action."""
        self._queue = queue
        self._report = report
        self._on_done = on_done

    def start(self, action: Callable[[], str], report: Callable[[str, bool], None] | None = None) -> threading.Thread:
        """Run an action in a thread and report its message or error."""
        args = (action, report or self._report)
        thread = threading.Thread(target=self._run, args=args, name="queuectl-action", daemon=True)
        thread.start()
        return thread

    def _run(self, action: Callable[[], str], report: Callable[[str, bool], None]) -> None:
        try:
            report(action(), False)
        except QueuectlError as error:
            report(str(error), True)
        except Exception as error:  # noqa: BLE001 - shown in the dashboard; a thread must not print into a cell
            report(f"internal error: {type(error).__name__}: {error}", True)
        finally:
            self._queue.close()
            self._on_done()

    def change(self, verb: str, chosen: Sequence[str] | Selection) -> str:
        """Retry, cancel or delete the jobs with these ids, or those of a selection."""
        method = getattr(self._queue, verb)
        changed = method(**chosen) if isinstance(chosen, dict) else method(*chosen)
        return f"{_jobs(changed)} {DONE[verb]}."

    def count(self, verb: str, selection: Selection) -> int:
        """Return how many jobs of a selection :meth:`change` would change."""
        return len(getattr(self._queue, verb)(dry_run=True, **selection))

    def pause(self, queue: str | None) -> str:
        """Pause a queue, or all."""
        self._queue.pause(queue)
        return f"Queue {queue} is paused." if queue else "All queues are paused; running jobs continue."

    def resume(self, queue: str | None) -> str:
        """Resume a queue, or all."""
        self._queue.resume(queue)
        if any(name in ("*", queue) for name in self._queue.store.reader.paused_queues()):
            return "All queues are still paused; select all queues, then Resume."
        return f"Queue {queue} is resumed." if queue else "All queues are resumed."

    def start_workers(self, count: int) -> str:
        """Start workers that end with the kernel."""
        pool = self._queue.start_workers(count)
        _pools[:] = [each for each in _pools if each.alive] + [pool]
        return f"{', '.join(pool.names)} started."

    def scale_workers(self, count: int, worker: str | None) -> str:
        """Change the number of workers in the pool of a worker, or in the only pool."""
        if worker is None and len({each.pool for each in self._queue.store.workers.list_all()}) > 1:
            raise BadInput("several pools are running; select a worker of the one to scale")
        names = self._queue.scale_workers(count, worker)
        return f"Scaled to {len(names)} worker{'' if len(names) == 1 else 's'}: {', '.join(names)}."

    def stop_workers(self, worker: str | None) -> str:
        """Stop a worker, or all, after their current jobs."""
        try:
            stopped = self._queue.stop_workers(*filter(None, [worker]), timeout=STOP_TIMEOUT_S)
        except WaitTimeout:
            return f"{worker or 'The workers'} will stop after the current job."
        return f"{', '.join(stopped)} stopped." if stopped else "No worker was running."

    def enqueue(self, fields: Mapping[str, object]) -> str:
        """Add a job."""
        (job_id,) = enqueue_specs(self._queue, [make_spec(fields)]).ids
        return f"Job enqueued: {job_id}"


def _jobs(ids: Sequence[str]) -> str:
    return f"Job {ids[0]}" if len(ids) == 1 else f"{len(ids)} jobs"


Chosen = Sequence[str] | Selection


class Targets:
    """The selected rows of each page, and what an action applies to. All pages share the buttons."""

    def __init__(self, feed: DashboardFeed, toolbar: Toolbar, actions: Actions) -> None:
        self.selected: dict[str, list[int]] = {}
        self._feed = feed
        self._toolbar = toolbar
        self._actions = actions
        self._used = ""
        self._shown: tuple[dict[str, list[str]], Selection | None] = ({}, None)
        self._asked: tuple[str, Chosen] | None = None
        for verb, button in toolbar.actions.items():
            button.on_click(lambda _, verb=verb: self._on_click(verb))
        toolbar.confirm.on_click(lambda _: self._on_confirm())

    # ------------------------------------------------------------------ in the feed's thread

    def select(self, view: str, keys: Sequence[int]) -> None:
        """Set the selected rows of a page."""
        self._used, self.selected[view] = view, [int(key) for key in keys]

    def show(self) -> None:
        """Show on the buttons what they would act on; withdraws a question about something else."""
        found = self._find()
        if found != self._shown:
            self._shown, self._asked = found, None
            self._toolbar.show_targets(found[0], matching=found[1] is not None)

    def _find(self) -> tuple[dict[str, list[str]], Selection | None]:
        """Return the jobs of each action, of those selected on the page that was used last; else the filter, if any."""
        keys = self.selected.get(self._used, [])
        jobs = self._feed.jobs.jobs_at(keys)
        ids = {verb: [job.id for job in jobs if job.state in ALLOWED_STATES[verb]] for verb in ACTIONS}
        return ids, None if keys else selection_of(self._feed.jobs.filter) or None

    def _act(self, verb: str) -> None:
        """Act on the selection of the page with the click; for the jobs of a filter, ask first."""
        ids, matching = self._find()
        if matching is None:
            self._start(verb, ids[verb])
        else:
            self._actions.start(lambda: self._ask(verb, matching))

    # ------------------------------------------------------------------ in other threads

    def _on_click(self, verb: str) -> None:
        ids, matching = self._shown
        if verb == "delete" and matching is None:
            self._toolbar.show_confirm(len(ids[verb]))
        else:
            self._feed.submit(lambda: self._act(verb))  # the selection may still be in its inbox

    def _ask(self, verb: str, matching: Selection) -> str:
        """Count the jobs of a filter that an action would change, and ask for confirmation."""
        count = self._actions.count(verb, matching)
        if not count:
            return f"No job of the filter is in a state in which it can be {DONE[verb]}."
        self._asked = verb, matching
        self._toolbar.show_confirm(count, verb)
        return ""

    def _on_confirm(self) -> None:
        if self._asked is None:
            self._feed.submit(lambda: self._act("delete"))
        else:
            self._start(*self._asked)
            self._asked = None
            self._toolbar.show_confirm(0)

    def _start(self, verb: str, chosen: Chosen) -> None:
        self._actions.start(lambda: self._actions.change(verb, chosen))
