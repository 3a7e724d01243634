"""Edits that are killed, or made while a worker claims the jobs."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.errors import WrongState
from queuectl_nb.store.checks import Checks
from queuectl_nb.store.claims import Claims
from queuectl_nb.store.edit import edit_jobs, read_edits
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness

KILLED = """
import json, os, signal
from itertools import count
from pathlib import Path
from queuectl_nb.store.edit import edit_jobs
from queuectl_nb.store.store import Store
# go

def kill_at(number):
    left = iter(range(number))
    def trace(_):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace

found = []
for number in count():  # each child is killed one statement later; the database is opened in children only
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        db = Store(Path(sys.argv[1])).db
        jobs = [json.loads(row[0]) for row in db.query("SELECT json_array(priority, tags) FROM jobs ORDER BY seq")]
        edits = db.query("SELECT job, count(*) FROM edits GROUP BY job")
        os.write(writer, json.dumps([jobs, edits]).encode() + b"\\n")
        db.connection().set_trace_callback(kill_at(number))
        edit_jobs(db, ["a", "b", "c"], {"priority": number + 1, "tags": (f"{number}",)}, number)
        db.connection().set_trace_callback(None)
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    found.append(json.loads(os.read(reader, 4096)))
    os.close(reader)
    if not status:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
print(json.dumps(found))
"""


def test_killed_edit(harness: StoreHarness, processes: Any) -> None:
    """Killed before any of its statements, an edit has changed all jobs and recorded it once for each, or nothing."""
    harness.add("a", "b", "c")
    processes.add(KILLED, harness.store.path)
    (line,) = processes.start_all()
    seen = json.loads(line)
    assert len(seen) > 10
    for jobs, edits in seen:
        assert jobs == [jobs[0]] * 3
        assert len(edits) in (0, 3)
        assert len({count for _, count in edits}) <= 1
    before = [[0, "[]"]] * 3
    for number, (jobs, _) in enumerate(seen):  # each child saw what the killed one before it has left
        assert jobs in (before, [[number, json.dumps([f"{number - 1}"])]] * 3)
        before = jobs
    last = len(seen)
    assert harness.query("SELECT priority, tags FROM jobs") == [(last, json.dumps([f"{last - 1}"]))] * 3
    changed = sum(number > 0 and jobs != seen[number - 1][0] for number, (jobs, _) in enumerate(seen)) + 1
    assert [len(read_edits(harness.store.db, name)) for name in "abc"] == [changed] * 3
    assert Checks(harness.store.db).tally_mismatches() == []


def test_edits_while_a_worker_claims(harness: StoreHarness) -> None:
    """A worker runs a job as the last edit before its claim left it; later ones are refused, and leave the others."""
    names = [f"job-{number}" for number in range(30)]
    harness.add(*names, command="0")
    passes = 0
    ran: dict[str, str] = {}
    over = threading.Event()

    def work() -> None:
        try:
            store = Store(harness.store.path)
            claims, settings = Claims(store.db, "worker-1", "here"), store.settings.read()
            while leases := claims.settle_and_claim(limit=1, settings=settings, now=harness.now, rand=0.0).leases:
                ran[leases[0].job_id] = leases[0].command
                before = passes
                while passes < before + 2 and not over.is_set():
                    time.sleep(0.001)
            store.db.close()
        finally:
            over.set()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    refused = 0
    try:
        while not over.is_set():
            edit_jobs(harness.store.db, names, {"command": f"{passes + 1}"}, passes, selected=True)
            assert len(harness.query("SELECT DISTINCT command FROM jobs WHERE state = 'pending'")) <= 1
            if passes % 2:
                try:
                    edit_jobs(harness.store.db, names[::-1], {"command": "refused"}, passes)
                except WrongState:
                    refused += 1
            passes += 1
    finally:
        over.set()
        worker.join()
    assert refused > len(names) / 2
    assert ran.keys() == set(names)
    assert len(set(ran.values())) > 10
    for name in names:
        changes = [each["changes"]["command"] for each in read_edits(harness.store.db, name)]
        assert [old for old, _ in changes] == ["0", *(new for _, new in changes)][: len(changes)]
        assert harness.store.jobs.get(name).command == ran[name] == (changes[-1][1] if changes else "0")
