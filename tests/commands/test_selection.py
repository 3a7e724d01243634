"""Verbs on a selection of jobs: which jobs they change, what they say, and what they refuse."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import BadInput, NotFound, WaitTimeout, WrongState

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran


@pytest.fixture
def states(manual_worker: ManualWorker) -> Callable[[], dict[str, str]]:
    """Add a job per state, ``done`` and ``dead`` with the tag ``sweep``, and return a function for their states."""
    manual_worker.add("dead", max_retries=1, tags=["sweep"], queue="gpu", command="train --lr 0.1")
    manual_worker.exhaust("dead")
    manual_worker.add("done", tags=["sweep"], command="train --lr 0.2")
    manual_worker.run("done")
    manual_worker.add("waiting", tags=["sweep"], command="train --lr 100%")
    manual_worker.add("blocked", after=["waiting"])
    with manual_worker.queue.store.db.read() as connection:
        return lambda: dict(connection.execute("SELECT id, state FROM jobs ORDER BY seq").fetchall())


BEFORE = {"dead": "dead", "done": "completed", "waiting": "pending", "blocked": "blocked"}
FINISHED = ("dead", "done")
PENDING = dict.fromkeys(FINISHED, "pending")
RETRIED = "moved back to queue for retry"


@pytest.mark.parametrize(
    ("words", "line", "changes"),
    [
        (["cancel", "--tag", "sweep"], "1 job cancelled.", {"waiting": "cancelled", "blocked": "cancelled"}),
        (["cancel", "--state", "blocked", "--state", "dead"], "1 job cancelled.", {"blocked": "cancelled"}),
        (["cancel", "--queue", "gpu"], "No jobs match.", {}),
        (["retry", "--tag", "sweep"], f"1 job {RETRIED}.", {"dead": "pending"}),
        (["retry", "--state", "completed"], f"1 job {RETRIED}.", {"done": "pending"}),
        (["retry", "--search", "LR 0.1"], f"1 job {RETRIED}.", {"dead": "pending"}),
        (["retry", "--state", "dead", "--state", "completed"], f"2 jobs {RETRIED}.", PENDING),
        (["retry", "--search", "0%"], "No jobs match.", {}),
        (["dlq", "retry", "--search", "train"], f"1 job {RETRIED}.", {"dead": "pending"}),
        (["dlq", "retry", "--tag", "other"], "No jobs match.", {}),
        (["dlq", "purge", "--queue", "gpu"], "1 job removed from the DLQ.", {"dead": None}),
        (["delete", "--search", "train --lr 0"], "2 jobs deleted.", dict.fromkeys(FINISHED)),
    ],
)  # fmt: skip
def test_change(
    run: Callable[..., Ran], states: Callable[[], dict[str, str]], words: list[str], line: str, changes: dict[str, str]
) -> None:
    """``--dry-run`` says how many would be changed; then exactly these are. Jobs in other states are left out."""
    preview = re.sub("(jobs?) (?!match)", r"\1 would be ", line)
    assert (run(*words, "--dry-run").stdout, states()) == (f"{preview}\n", BEFORE)
    assert run(*words).stdout == f"{line}\n"
    assert states() == {name: state for name, state in {**BEFORE, **changes}.items() if state}


@pytest.mark.parametrize("words", [["cancel"], ["retry"], ["delete"], ["dlq", "retry"], ["dlq", "purge"]])
def test_exactly_one_choice(run: Callable[..., Ran], states: Callable[[], dict[str, str]], words: list[str]) -> None:
    """Without ids or a selection, and with both, nothing is changed; the error names the options."""
    ran = run(*words)
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    ran = run(*words, "dead", "--tag", "sweep")
    assert (ran.exit_code, ran.stderr) == (2, "queuectl: give ids or a selection (--tag), not both\n")
    ran = run(*words, "--tag", "other", "--tag", "sweep")  # not the union, nor only the last
    assert (ran.exit_code, ran.stderr) == (2, "queuectl: --tag takes one value; it was given 2 times\n")
    ran = run(*words, "--state", "banana")
    assert (ran.exit_code, "pending, processing, failed" in ran.stderr) == (2, True)
    assert states() == BEFORE


def test_dry_run_of_ids(run: Callable[..., Ran], states: Callable[[], dict[str, str]]) -> None:
    """Ids are checked as in the real run."""
    assert run("retry", "dead", "done", "--dry-run").stdout == f"2 jobs would be {RETRIED}.\n"
    ran = run("cancel", "waiting", "done", "--dry-run")
    assert (ran.exit_code, "job done is completed" in ran.stderr) == (5, True)
    assert states() == BEFORE


def test_json(run: Callable[..., Ran], states: Callable[[], dict[str, str]]) -> None:
    """The answer is the changed jobs as an array; of deleted ones their ids."""
    (job,) = json.loads(run("cancel", "--tag", "sweep", "--json").stdout)
    assert (job["id"], job["state"]) == ("waiting", "cancelled")
    assert json.loads(run("delete", "--tag", "sweep", "--json").stdout) == ["dead", "done", "waiting"]
    assert states() == {"blocked": "cancelled"}


@pytest.mark.usefixtures("states")
def test_list_and_wait(run: Callable[..., Ran]) -> None:
    """``list`` and ``wait`` take the same; a wait for a selection covers the jobs that have finished before, too."""
    listed = [job["id"] for job in json.loads(run("list", "--search", "train", "--json").stdout)]
    assert listed == ["waiting", "done", "dead"]
    assert [job["id"] for job in json.loads(run("list", "dead", "done", "--json").stdout)] == ["done", "dead"]
    assert run("list", "dead", "nothing").exit_code == 5
    ran = run("wait", "--tag", "sweep", "--state", "completed", "--state", "dead")
    assert (ran.exit_code, ran.stdout) == (1, "2 job(s) finished: 1 completed, 1 dead.\n")
    assert run("wait", "--tag", "other").stdout == "No jobs match.\n"
    assert run("wait", "done", "--tag", "sweep").exit_code == 2


def test_python(queue: Queue, states: Callable[[], dict[str, str]]) -> None:
    """The methods take the same words as keywords, and return ids."""
    assert queue.retry(tag="sweep", dry_run=True) == ["dead"]
    assert list(queue.jobs(search="train", state=["dead", "completed"]).index) == ["done", "dead"]
    assert queue.wait(state="completed") == {"completed": 1}
    assert states() == BEFORE
    with pytest.raises(BadInput, match=r"give jobs or a selection \(tag\), not both"):
        queue.cancel("waiting", tag="sweep")
    assert queue.cancel(queue=None, state="pending") == ["waiting"]
    assert queue.purge_dead(queue="gpu") == ["dead"]
    assert queue.cancel() == []


METHODS = ("batch", "cancel", "delete", "eta", "errors", "jobs", "metrics", "purge_dead", "retry", "retry_dead", "wait")
EMPTY: list[dict[str, Any]] = [{"search": ""}, {"state": []}, {"error": ""}, {"tag": ""}, {"queue": ""}, {"state": ""}]


@pytest.mark.parametrize("method", METHODS)
def test_invalid_selection_in_python(queue: Queue, states: Callable[[], dict[str, str]], method: str) -> None:
    """An empty value would select all jobs, where none was meant; an unknown keyword is named with the valid ones."""
    for selection in EMPTY:
        (name,) = selection
        with pytest.raises(BadInput, match=f"{name} is empty; leave it out to select any"):
            getattr(queue, method)(**selection)
    for name in ("colour", "after", "tags"):
        with pytest.raises(BadInput, match=f"selection '{name}' is unknown; .*valid: state, queue, tag, error"):
            getattr(queue, method)(**{name: None})
    assert states() == BEFORE


@pytest.mark.parametrize(
    "verb", ["list", "cancel", "retry", "delete", "wait", "dlq retry", "dlq purge", "metrics", "grep x", "errors"]
)
def test_empty_selection(run: Callable[..., Ran], states: Callable[[], dict[str, str]], verb: str) -> None:
    """The commands refuse an empty value, too, even beside one that is not empty."""
    for option in ("search", "error", "tag", "queue", "state"):
        ran = run(*verb.split(), "--state", "dead", f"--{option}", "")
        assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1), option
        assert option in ran.stderr
    assert states() == BEFORE


@pytest.mark.usefixtures("states")
def test_jobs_by_id(queue: Queue) -> None:
    """Jobs are given as elsewhere, in any order; the error names an unknown one."""
    assert list(queue.jobs(ids=["waiting", "dead"]).index) == ["waiting", "dead"]
    assert list(queue.jobs(ids=queue.batch(tag="sweep")).index) == ["dead", "done", "waiting"]
    assert list(queue.jobs(ids="dead").index) == ["dead"]
    with pytest.raises(NotFound, match="no job nothing"):
        queue.jobs(ids=["dead", "nothing"])


def test_wait_without_a_value(queue: Queue) -> None:
    """A selection of which all is None is none: the wait is for all jobs."""
    queue.enqueue("true")
    with pytest.raises(WaitTimeout):
        queue.wait(tag=None, timeout=0)


def test_retry_of_a_cancelled_chain(queue: Queue, states: Callable[[], dict[str, str]]) -> None:
    """Selected jobs that wait for others of the selection are blocked; without these the retry is refused."""
    queue.cancel(state=["pending", "blocked"])
    with pytest.raises(WrongState, match="job blocked waits for waiting, which is cancelled; retry that one first"):
        queue.retry(search="blocked")
    assert queue.retry(state="cancelled") == ["waiting", "blocked"]
    assert states() == BEFORE
