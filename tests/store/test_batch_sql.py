"""Statements over several rows: any number of rows, each with its own values."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store.claims import EndedAttempt
from queuectl_nb.store.queries import BATCH_ROWS, MAX_PARAMETERS, expand, insert_rows

if TYPE_CHECKING:
    from queuectl_nb.model.attempt import Lease
    from tests.store.conftest import StoreHarness


SIZE = BATCH_ROWS[0]


@pytest.mark.parametrize("many", [1, BATCH_ROWS[-1], SIZE - 1, SIZE, SIZE + 1, 3 * SIZE + 5])
def test_each_row_gets_its_own_values(harness: StoreHarness, many: int) -> None:
    """Jobs claimed and settled in one batch have their own token, exit code, output and usage."""
    for number in range(many):
        harness.add(f"job-{number}")
    leases: list[Lease] = harness.settle_and_claim(limit=many).leases
    assert len({lease.token for lease in leases}) == many
    ended = [
        EndedAttempt(
            lease,
            Exited(lease.seq % 3),
            Ending(
                harness.now + lease.seq,
                started_at=harness.now + lease.seq / 2,
                pid=1000 + lease.seq,
                stdout=bytes([255, lease.seq % 256]) if lease.seq % 2 else f"text {lease.seq}",
                stdout_size=lease.seq,
                usage=Usage(lease.seq / 8, None, lease.seq * 1024),
            ),
        )
        for lease in leases
    ]
    settled = harness.settle_and_claim(ended=ended).settled
    assert len(settled) == many
    assert None not in settled
    for each in ended:
        lease, ending = each.lease, each.ending
        (attempt,) = harness.store.reader.attempts(lease.job_id)
        assert (attempt.token, attempt.pid, attempt.finished_at) == (lease.token, ending.pid, ending.finished_at)
        assert (attempt.started_at, attempt.stdout, attempt.exit_code) == (
            ending.started_at,
            ending.stdout,
            lease.seq % 3,
        )
        assert (attempt.user_cpu_s, attempt.system_cpu_s, attempt.max_rss_bytes) == ending.usage
        job = harness.store.jobs.get(lease.job_id)
        assert (job.exit_code, job.state.value) == (lease.seq % 3, "failed" if lease.seq % 3 else "completed")
    harness.check_invariants()


def test_long_output_in_a_batch(harness: StoreHarness) -> None:
    """Long output, text or bytes, is stored whole; the other attempts of the batch keep their own."""
    for number in range(SIZE + 1):
        harness.add(f"job-{number}")
    leases = harness.settle_and_claim(limit=SIZE + 1).leases
    streams: list[tuple[str | bytes, str | bytes | None]] = [("little", None)] * len(leases)
    streams[3] = ("x" * 100_000, "y" * 100_000)
    streams[SIZE] = (b"\xff" * 200_000, None)
    ended = [
        EndedAttempt(
            lease, Exited(0), Ending(harness.now, stdout=out, stdout_tail=tail, stdout_size=len(out) + len(tail or ""))
        )
        for lease, (out, tail) in zip(leases, streams, strict=True)
    ]
    harness.settle_and_claim(ended=ended)
    stored = harness.query("SELECT stdout, stdout_tail FROM attempts ORDER BY job")
    assert stored == streams


def test_one_late_result_in_a_batch(harness: StoreHarness) -> None:
    """A result whose attempt a rescuer has settled is dropped; the others of the batch are recorded."""
    for number in range(SIZE + 3):
        harness.add(f"job-{number}")
    leases = harness.settle_and_claim(limit=SIZE + 3).leases
    harness.settle_and_claim(released=[leases[5]])
    settled = harness.settle_and_claim(
        ended=[EndedAttempt(lease, Exited(0), Ending(harness.now)) for lease in leases]
    ).settled
    assert [index for index, each in enumerate(settled) if each is None] == [5]
    assert harness.store.jobs.get(leases[5].job_id).state.value == "pending"
    harness.check_invariants()


def test_statements_are_cached_by_row_count() -> None:
    """The long form has a placeholder for each value of each row."""
    assert expand("SELECT * FROM (VALUES :rows)", 2, 3) == "SELECT * FROM (VALUES (?, ?, ?), (?, ?, ?))"


@pytest.mark.parametrize("rows", [1, MAX_PARAMETERS // 2 - 1, MAX_PARAMETERS // 2, 3 * MAX_PARAMETERS + 1])
def test_inserted_rows(rows: int) -> None:
    """Rows are inserted in order, with the shared values in each."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c)")
    columns = {"b": range(rows), "c": [f"c{number}" for number in range(rows)]}
    insert_rows(connection, "t", {"a": "x"}, columns)
    found = connection.execute("SELECT a, b, c FROM t ORDER BY id").fetchall()
    assert found == [("x", number, f"c{number}") for number in range(rows)]
    connection.close()
