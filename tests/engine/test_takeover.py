"""A dispatcher takes over what dead ones have sent, and rescuers leave that alone until its lease is over."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.engine import heartbeat, proc_files
from queuectl_nb.engine.control import remote_lease_s
from queuectl_nb.engine.dask import dispatcher
from queuectl_nb.engine.dask.dispatch_table import DispatchTable, read_dispatched
from queuectl_nb.engine.dask.dispatcher import take_over
from queuectl_nb.engine.outcome_journal import OutcomeJournal, lock_journal
from queuectl_nb.engine.rescuer import Rescuer
from queuectl_nb.engine.worker_core import WorkerCore
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store.claims import Claims
from tests.engine.test_frozen import QuietControl

if TYPE_CHECKING:
    from queuectl_nb.client import Queue
    from queuectl_nb.model.attempt import Lease

DEAD = "worker-9"


def dispatch(queue: Queue, *, claimed: int, sent: int) -> list[Lease]:
    """Claim jobs as the dead dispatcher DEAD, which has sent the first of them."""
    for _ in range(claimed):
        queue.enqueue("true")
    claims = Claims(queue.store.db, DEAD, "there", parallel=True)
    leases = claims.settle_and_claim(limit=claimed, settings=queue.settings, now=time.time(), rand=0).leases
    os.close(heartbeat.take_lock(queue.store.worker_dir, DEAD) or -1)
    table = DispatchTable(queue.store.worker_dir, DEAD)
    for lease in leases[:sent]:
        table.add(lease.token)
    return leases


@pytest.fixture
def core(queue: Queue) -> WorkerCore:
    """Return the core of ``worker-1``."""
    return WorkerCore(queue.store, QuietControl(queue.store), host="here")


def test_sent_attempts_are_taken_over(queue: Queue, core: WorkerCore) -> None:
    """A rescuer settles what was recorded in the journal or never sent, and nothing else."""
    sent, recorded, unsent = dispatch(queue, claimed=3, sent=2)
    OutcomeJournal(queue.store.worker_dir, DEAD).record(recorded.token, Exited(0), Ending(time.time()))
    table = DispatchTable(queue.store.worker_dir, "worker-1")
    (taken,) = take_over(core, table, "")[DEAD]
    assert taken[:4] == sent[:4]
    assert (taken.attempts, taken.kind) == (1, "command")
    assert read_dispatched(queue.store.worker_dir, "worker-1") == {sent.token}
    assert [each.token for each in core.claims.held_leases()] == [sent.token]
    assert {job_id for job_id, _ in Rescuer(queue.store).rescue_dead()} == {recorded.job_id, unsent.job_id}
    assert [queue.job(each.job_id).state for each in (sent, recorded, unsent)] == ["processing", "completed", "pending"]
    assert take_over(core, table, DEAD) == {}


def test_nothing_is_taken_from_a_dispatcher_that_is_rescued(
    queue: Queue, core: WorkerCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a rescuer holds the journal, the attempts stay where they are."""
    monkeypatch.setattr(dispatcher, "JOURNAL_LOCK_TIMEOUT_S", 0.0)
    dispatch(queue, claimed=1, sent=1)
    handle = lock_journal(queue.store.worker_dir, DEAD)
    assert handle is not None
    table = DispatchTable(queue.store.worker_dir, "worker-1")
    assert take_over(core, table, DEAD) == {}
    os.close(handle)
    assert list(take_over(core, table, DEAD)) == [DEAD]


def test_what_was_sent_is_killed_only_when_its_lease_is_over(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command on a dask worker of the same host may be taken over until then; its end must not be a SIGKILL."""
    (lease,) = dispatch(queue, claimed=1, sent=1)
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, proc_files.TOKEN_VARIABLE: lease.token})
    try:
        found = Rescuer(queue.store, process.poll)
        assert found.rescue_dead() == []
        assert process.poll() is None
        late = heartbeat.boot_clock() + remote_lease_s(queue.settings)
        monkeypatch.setattr(heartbeat, "boot_clock", lambda: late)
        assert found.rescue_dead() == [(lease.job_id, DEAD)]
        assert process.wait(60) == -9
    finally:
        process.kill()
        process.wait()
