"""Retry, cancel, delete and prune jobs, and notify workers.

Jobs are chosen by ids, all or none, or by a filter, which leaves out jobs in a state that does not allow the action.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import notifier
from queuectl_nb.model.errors import BadInput, QueuectlError, WaitTimeout, WrongState
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.jobs import CancelRequest
    from queuectl_nb.store.store import Store

    Chosen = list[str] | Filter

__all__ = [
    "cancel",
    "cancel_waiting",
    "delete",
    "notify_idle_worker",
    "notify_workers",
    "preview",
    "prune",
    "report_progress",
    "retry",
]

_CANCEL_MARGIN_S = 3.0
"""A cancel waits for ``kill_grace`` and this long for its jobs to stop."""
_CANCEL_POLL_S = 0.02
"""Interval at which the rescuer runs during that wait."""
SPOOL_LISTING_THRESHOLD = 100
"""Number of attempts from which the spool is listed once, instead of trying to delete each file."""


def notify_idle_worker(store: Store) -> None:
    """Wake one idle worker, since there may be work; without workers (``Queue.inline``), do it."""
    if store.run_inline is not None:
        store.run_inline()
    else:
        notifier.notify(notifier.work_fifo(store.db.spool))


def notify_workers(store: Store, names: Iterable[str]) -> None:
    """Wake these workers, since a stop or cancel request or a setting concerns them."""
    for each in names:
        notifier.notify(notifier.worker_fifo(store.db.spool, each))


def retry(store: Store, chosen: Chosen, action: str = "retry") -> list[str]:
    """Run failed, dead, cancelled or completed jobs again now; ``dlq retry``: only dead ones. Return their ids."""
    if isinstance(chosen, list):
        store.jobs.retry(chosen, time.time(), action)
        changed = list(dict.fromkeys(chosen))
    else:
        from queuectl_nb.store.selections import retry_selected  # not loaded by an enqueue

        changed = list[str]()
        with report_progress(lambda: len(changed), "moved back to the queue"):
            for ids in retry_selected(store.db, chosen, time.time(), action):
                changed += ids
    notify_idle_worker(store)
    return changed


def cancel(store: Store, chosen: Chosen) -> list[str]:
    """Cancel jobs, wait until running ones have stopped, and return the ids.

    Raises ``WrongState`` if a named job has finished, or finishes before it could be stopped, and ``WaitTimeout`` if
    one does not stop in time.
    """
    changed: list[str] = []
    running: list[CancelRequest] = []
    if isinstance(chosen, list):
        running = store.jobs.cancel(chosen, time.time())
        changed = list(dict.fromkeys(chosen))
    else:
        from queuectl_nb.store.selections import cancel_selected

        with report_progress(lambda: len(changed), "cancelled"):
            for ids, batch_running in cancel_selected(store.db, chosen, time.time()):
                changed += ids
                running += batch_running
    notifier.notify_finished(notifier.waiter_dir(store.db.spool))
    if not running:
        return changed
    notify_workers(store, {job.worker for job in running if job.worker})
    finished = _await_cancel(store, [job.id for job in running])
    if finished and isinstance(chosen, list):
        job_id, state = next(iter(finished.items()))
        raise WrongState(f"job {job_id} finished ({state}) before it could be cancelled")
    return [job_id for job_id in changed if job_id not in finished]


def cancel_waiting(store: Store, job_id: str) -> None:
    """Cancel a job that does not run; raise ``WrongState`` if it runs or has finished."""
    store.jobs.cancel([job_id], time.time(), waiting_only=True)
    notifier.notify_finished(notifier.waiter_dir(store.db.spool))


def _await_cancel(store: Store, ids: list[str]) -> dict[str, State]:
    """Wait until no job runs; return those that have finished otherwise than by the cancel."""
    from queuectl_nb.engine.rescuer import Rescuer

    timeout_s = store.settings.read().kill_grace + _CANCEL_MARGIN_S
    deadline = time.monotonic() + timeout_s
    rescuer = Rescuer(store)
    with notifier.FinishWaiter(notifier.waiter_dir(store.db.spool)) as waiter:
        while State.PROCESSING in (states := store.reader.states_of(ids)).values():
            rescuer.rescue_dead()  # its worker may be dead
            if time.monotonic() > deadline:
                running = [job_id for job_id, state in states.items() if state is State.PROCESSING]
                msg = f"{', '.join(running)} still running after {timeout_s:g} seconds; the cancel request remains"
                raise WaitTimeout(msg)
            waiter.wait(_CANCEL_POLL_S)
    return {job_id: state for job_id, state in states.items() if state is not State.CANCELLED}


def delete(store: Store, chosen: Chosen, action: str = "delete") -> list[str]:
    """Delete jobs that are not running, with their history and files; ``dlq purge``: only dead ones. Return the ids."""
    deleted = list[str]()
    with report_progress(lambda: len(deleted), "removed"), _removed_output(store) as tokens:
        if isinstance(chosen, list):
            tokens.extend(store.jobs.delete(chosen, time.time(), action))
            deleted = list(dict.fromkeys(chosen))
        else:
            from queuectl_nb.store.selections import delete_selected

            for ids, batch_tokens in delete_selected(store.db, chosen, time.time(), action):
                deleted += ids
                tokens.extend(batch_tokens)
        notifier.notify_finished(notifier.waiter_dir(store.db.spool))
    return deleted


def preview(store: Store, chosen: Chosen, action: str) -> list[str]:
    """Return the ids of the jobs that ``action`` would change; raise for named ones that it would refuse."""
    if isinstance(chosen, list):
        store.jobs.check(chosen, action)
        return list(dict.fromkeys(chosen))
    from queuectl_nb.store.selections import select_jobs

    return [job.id for job in select_jobs(store.db, chosen, action)]


def prune(
    store: Store, older_than: float | None, state: str | None, *, vacuum: bool = False, dry_run: bool = False
) -> tuple[int, int]:
    """Delete finished jobs that did not change for ``older_than`` seconds, and with ``vacuum`` shrink the file.

    Return the number of jobs, and the bytes that were given back. Without an age, the file is only shrunk. With
    ``dry_run`` nothing is changed.
    """
    removed = freed = 0
    if older_than is None and (not vacuum or state is not None):
        raise BadInput("older_than must be given, such as '7d'; only vacuum alone works without it")
    if dry_run:
        return (0 if older_than is None else store.jobs.count_old(older_than, time.time(), state)), 0
    with report_progress(lambda: removed, "removed"):
        with _removed_output(store) as tokens:
            if older_than is not None:
                for number, batch_tokens in store.jobs.prune(older_than, time.time(), state):
                    removed += number
                    tokens.extend(batch_tokens)
        if vacuum:
            from queuectl_nb.store import maintenance

            freed = maintenance.vacuum(store.db)
    return removed, freed


@contextlib.contextmanager
def report_progress(count: Callable[[], int], done: str) -> Iterator[None]:
    """Let the error of an action in several transactions say how many jobs those before have changed."""
    try:
        yield
    except QueuectlError as error:
        if number := count():
            raise error.after(f"{number} job(s) were {done}") from error
        raise


@contextlib.contextmanager
def _removed_output(store: Store) -> Iterator[list[str]]:
    """Delete at the end the spool files of the attempts (tokens) in the list, and blobs that no job needs any more.

    Also after an error or an interrupt, since their jobs are deleted.
    """
    from queuectl_nb.store.blobs import blob_files
    from queuectl_nb.store.maintenance import remove_strays

    tokens: list[str] = []
    before = blob_files(store.db)
    try:
        yield tokens
    finally:
        for token in tokens if len(tokens) < SPOOL_LISTING_THRESHOLD else store.spool.tokens().intersection(tokens):
            store.spool.remove(token)
        with contextlib.suppress(QueuectlError):  # a full disk: the next deletion finds them
            remove_strays(store.db, time.time(), before)
