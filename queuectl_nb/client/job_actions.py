"""Retry, cancel, delete and prune jobs, and notify workers. Several ids: all or none."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import notifier
from queuectl_nb.model.errors import BadInput, QueuectlError, WaitTimeout, WrongState
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from queuectl_nb.store.store import Store

__all__ = [
    "cancel",
    "cancel_waiting",
    "delete",
    "notify_idle_worker",
    "notify_workers",
    "prune",
    "purge_dead",
    "retry",
    "retry_dead",
]


def notify_idle_worker(store: Store) -> None:
    """Wake one idle worker, since there may be work."""
    notifier.notify(notifier.work_fifo(store.db.spool))


def notify_workers(store: Store, names: Iterable[str]) -> None:
    """Wake these workers, since a stop or cancel request or a setting concerns them."""
    for each in names:
        notifier.notify(notifier.worker_fifo(store.db.spool, each))


_CANCEL_MARGIN_S = 3.0
"""A cancel waits for ``kill_grace`` and this long for its jobs to stop."""
_CANCEL_POLL_S = 0.02
"""Interval at which the rescuer runs during that wait."""
SPOOL_LISTING_THRESHOLD = 100
"""From this many attempts on, the spool is listed once instead of trying to delete each file."""


def retry(store: Store, ids: Sequence[str]) -> None:
    """Run failed, dead, cancelled or completed jobs again now."""
    store.jobs.retry(ids, time.time())
    notify_idle_worker(store)


def retry_dead(store: Store, ids: Sequence[str], *, all_dead: bool) -> list[str]:
    """Move dead jobs back to the queue with a fresh retry budget; return their ids."""
    _require_ids_or_all(ids, all_dead=all_dead)
    if all_dead:
        from queuectl_nb.store.dead_letters import retry_all  # not loaded by an enqueue

        chosen = list[str]()
        with _report_progress(lambda: len(chosen), "moved back to the queue"):
            for each in retry_all(store.db, time.time()):
                chosen += each
    else:
        chosen = list(dict.fromkeys(ids))
        store.jobs.retry(chosen, time.time(), "dlq retry")
    notify_idle_worker(store)
    return chosen


def purge_dead(store: Store, ids: Sequence[str], *, all_dead: bool) -> list[str]:
    """Delete dead jobs; return their ids."""
    _require_ids_or_all(ids, all_dead=all_dead)
    if all_dead:
        from queuectl_nb.store.dead_letters import purge_all

        chosen = list[str]()
        with _report_progress(lambda: len(chosen), "removed"), _removed_output(store) as tokens:
            for each, of_each in purge_all(store.db, time.time()):
                chosen += each
                tokens.extend(of_each)
    else:
        chosen = list(dict.fromkeys(ids))
        with _removed_output(store) as tokens:
            tokens.extend(store.jobs.delete(chosen, time.time(), "dlq purge"))
    return chosen


def _require_ids_or_all(ids: Sequence[str], *, all_dead: bool) -> None:
    if bool(ids) == all_dead:
        raise BadInput("give the ids of dead jobs, or --all")


def cancel(store: Store, ids: Sequence[str]) -> None:
    """Cancel jobs and wait until running ones have stopped.

    Raises ``WrongState`` if a job has finished, or finishes before it could be stopped, and ``WaitTimeout`` if one
    does not stop in time.
    """
    running = store.jobs.cancel(ids, time.time())
    notifier.notify_finished(notifier.waiter_dir(store.db.spool))
    if running:
        notify_workers(store, {worker for _, worker in running if worker})
        _await_cancel(store, [job_id for job_id, _ in running])


def cancel_waiting(store: Store, job_id: str) -> None:
    """Cancel a job that does not run; raise ``WrongState`` if it runs or has finished."""
    store.jobs.cancel([job_id], time.time(), waiting_only=True)
    notifier.notify_finished(notifier.waiter_dir(store.db.spool))


def _await_cancel(store: Store, ids: list[str]) -> None:
    from queuectl_nb.engine.rescuer import Rescuer

    timeout_s = store.settings.read().kill_grace + _CANCEL_MARGIN_S
    deadline = time.monotonic() + timeout_s
    rescuer = Rescuer(store)
    with notifier.FinishWaiter(notifier.waiter_dir(store.db.spool)) as waiter:
        while State.PROCESSING in store.reader.states_of(ids).values():
            rescuer.rescue_dead()  # its worker may be dead
            if time.monotonic() > deadline:
                msg = f"{', '.join(ids)} still running after {timeout_s:g} seconds; the cancel request remains"
                raise WaitTimeout(msg)
            waiter.wait(_CANCEL_POLL_S)
    for job_id in ids:
        state = store.jobs.get(job_id).state
        if state is not State.CANCELLED:
            raise WrongState(f"job {job_id} finished ({state}) before it could be cancelled")


def delete(store: Store, ids: Sequence[str]) -> None:
    """Delete jobs that are not running, with their history and files."""
    with _removed_output(store) as tokens:
        tokens.extend(store.jobs.delete(ids, time.time()))
        notifier.notify_finished(notifier.waiter_dir(store.db.spool))


def prune(store: Store, older_than: float | None, state: str | None, *, vacuum: bool = False) -> tuple[int, int]:
    """Delete finished jobs that did not change for ``older_than`` seconds, and with ``vacuum`` shrink the file.

    Return the number of jobs, and the bytes that were given back. Without an age, the file is only shrunk.
    """
    removed = freed = 0
    if older_than is None and (not vacuum or state is not None):
        raise BadInput("older_than must be given, such as --older-than 7d; only --vacuum alone works without it")
    with _report_progress(lambda: removed, "removed"):
        with _removed_output(store) as tokens:
            if older_than is not None:
                for number, of_each in store.jobs.prune(older_than, time.time(), state):
                    removed += number
                    tokens.extend(of_each)
        if vacuum:
            from queuectl_nb.store import maintenance

            freed = maintenance.vacuum(store.db)
    return removed, freed


@contextlib.contextmanager
def _report_progress(count: Callable[[], int], done: str) -> Iterator[None]:
    """Let the error of an action in several transactions say how many jobs those before have changed."""
    try:
        yield
    except QueuectlError as error:
        if number := count():
            raise error.after(f"{number} job(s) were {done}") from error
        raise


@contextlib.contextmanager
def _removed_output(store: Store) -> Iterator[list[str]]:
    """Delete at the end the spool files of the attempts (tokens) in the list, and old blobs that no job needs.

    Also after an error or an interrupt, since their jobs are deleted.
    """
    tokens: list[str] = []
    try:
        yield tokens
    finally:
        for token in tokens if len(tokens) < SPOOL_LISTING_THRESHOLD else store.spool.tokens().intersection(tokens):
            store.spool.remove(token)
        from queuectl_nb.store.blobs import remove_strays

        with contextlib.suppress(QueuectlError):  # a full disk: the next deletion finds them
            remove_strays(store.db, time.time())
