"""``grep``: lines of output that match, of stored, long and running attempts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client.logs import Logs
from queuectl_nb.model.errors import BadInput, NotFound
from queuectl_nb.model.outcome import Exited
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from queuectl_nb.model.attempt import AttemptRecord
    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran


@pytest.fixture
def outputs(manual_worker: ManualWorker) -> ManualWorker:
    """Run three jobs, the second of them twice, with output in both streams."""
    manual_worker.add("a", tags=["sweep"])
    manual_worker.run("a", stdout="one\ntwo\nthree loss: 0.5\nfour\nfive\nsix loss: 1\n", stdout_size=9)
    manual_worker.add("b", max_retries=1)
    manual_worker.run("b", Exited(1), stderr="loss: first attempt\n", stderr_size=9)
    manual_worker.queue.retry("b")
    manual_worker.run("b", stdout=b"\x1b[31mLoss: \xff\x1b[0m\r\n", stderr="no newline,\tloss: 2", stdout_size=9)
    manual_worker.add("c")
    manual_worker.run("c", stdout="nothing\n", stdout_size=9)
    return manual_worker


@pytest.mark.usefixtures("outputs")
@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["loss"], ["a:stdout:three loss: 0.5", "a:stdout:six loss: 1", "b:stderr:no newline,\tloss: 2"]),
        (["loss", "--tag", "sweep", "--line-number"], ["a:stdout:3:three loss: 0.5", "a:stdout:6:six loss: 1"]),
        (["LOSS: ", "-i", "b"], ["b:stdout:Loss: \ufffd", "b:stderr:no newline,\tloss: 2"]),
        (["^loss", "--all-attempts"], ["b (attempt 1):stderr:loss: first attempt"]),
        (["loss", "--count"], ["a:2", "b:1"]),
        (["^two$"], ["a:stdout:two"]),
        ([r"\Atwo\Z"], ["a:stdout:two"]),
        ([r"two(?!\s)"], ["a:stdout:two"]),
        ([r"(?<!\s)two"], ["a:stdout:two"]),
        (["nothing|five"], ["a:stdout:five", "c:stdout:nothing"]),
        (["six", "-C", "1"], ["a:stdout-five", "a:stdout:six loss: 1"]),
        (
            ["loss", "a", "--context", "1"],
            ["a:stdout-two", "a:stdout:three loss: 0.5", "a:stdout-four", "a:stdout-five", "a:stdout:six loss: 1"],
        ),
    ],
)
def test_lines(run: Callable[..., Ran], words: list[str], lines: list[str]) -> None:
    """A line per match, in enqueue order, without escape sequences; the exit code is 0."""
    ran = run("grep", *words)
    assert ran.stdout.splitlines() == lines
    assert (ran.exit_code, ran.stderr) == (0, "")


@pytest.mark.usefixtures("outputs")
def test_exit_codes(run: Callable[..., Ran]) -> None:
    """1 without a match, also as JSON; 2 for an invalid pattern, 5 for an unknown job."""
    for words in (["^$"], ["absent"], ["loss", "--tag", "none"], ["absent", "--count"], ["loss", "c", "--json"]):
        ran = run("grep", *words)
        assert (ran.exit_code, ran.stderr, ran.stdout.strip() in ("", "[]")) == (1, "", True)
    for pattern in ("(", "*", "a{99999999999}"):
        ran = run("grep", pattern)
        assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
        assert "is not a regular expression" in ran.stderr
    assert run("grep", "loss", "unknown").exit_code == 5


@pytest.mark.usefixtures("outputs")
def test_data(run: Callable[..., Ran], queue: Queue) -> None:
    """JSON and the frame have job, attempt, stream, number and text of each line."""
    expected = {"job_id": "a", "attempt": 1, "stream": "stdout", "line": 3, "text": "three loss: 0.5"}
    assert json.loads(run("grep", "loss", "--json").stdout)[0] == expected
    assert json.loads(run("grep", "loss", "--count", "--json").stdout)[0] == {"job_id": "a", "count": 2}
    assert queue.grep("LOSS: 0", ignore_case=True).to_dict("records") == [expected]
    assert queue.grep("loss", all_attempts=True, search="b")["attempt"].tolist() == [1, 2]
    assert queue.grep("loss", "b", all_attempts=True)["attempt"].tolist() == [1, 2]
    assert queue.grep("absent").empty
    assert queue.grep("loss", []).empty
    with pytest.raises(NotFound):
        queue.grep("loss", "unknown")
    with pytest.raises(BadInput, match="not a regular expression"):
        queue.grep("(")
    with pytest.raises(BadInput, match="pattern must be text, not Pattern"):
        queue.grep(re.compile("loss"))  # type: ignore[arg-type]


def test_long_and_running_output(queue: Queue, tmp_path: Path, run: Callable[..., Ran]) -> None:
    """Output that is only in the spool is searched chunk by chunk, while it is written and afterwards."""
    queue.set("output_limit", 1000)
    end = tmp_path / "end"
    command = f"seq 100000; printf 'no newline yet'; while [ ! -e {end} ]; do sleep 0.02; done; echo; echo last"
    with queue.start_workers(1):
        job = queue.enqueue(command)
        until(lambda: "no newline yet" in job.log())
        assert run("grep", "^77777$|newline").stdout.splitlines() == [
            f"{job.id}:stdout:77777",
            f"{job.id}:stdout:no newline yet",
        ]
        end.touch()
        job.wait(timeout=60)
    assert run("grep", "^99999$|last", "--line-number").stdout.splitlines() == [
        f"{job.id}:stdout:99999:99999",
        f"{job.id}:stdout:100002:last",
    ]


@pytest.mark.parametrize("ends", ["before its row is read", "after its row is read"])
def test_job_that_ends_during_the_search(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """The output of an attempt that was running at first is found, wherever it is when it is read."""
    end, read = tmp_path / "end", Logs.with_output

    def end_job(logs: Logs, job_id: str, number: int) -> AttemptRecord | None:
        found = read(logs, job_id, number)
        assert found is not None
        if not end.exists():
            end.touch()
            job.wait(timeout=60)
            until(lambda: logs.store.spool.read(found.token, "stdout", 0, 1) is None)  # moved to the database
            return found if "after" in ends else read(logs, job_id, number)
        return found

    with queue.start_workers(1):
        job = queue.enqueue(f"echo loss; while [ ! -e {end} ]; do sleep 0.02; done", timeout=0)
        until(lambda: "loss" in job.log())
        monkeypatch.setattr(Logs, "with_output", end_job)
        assert queue.grep("loss")["text"].tolist() == ["loss"]


def test_long_line(queue: Queue) -> None:
    """A line of megabytes is searched in parts, across their boundaries, and counts as one."""
    queue.set("output_limit", 1000)
    queue.enqueue("seq -s , 500000; echo last")
    with queue.start_workers(1, drain=True) as pool:
        pool.wait(timeout=60)
    line = ",".join(map(str, range(1, 500_001)))
    for at in range(2**20, 2**20 + 2**18 + 1, 2**16):
        found = queue.grep(line[at - 10 : at + 10])
        assert (found["line"].tolist(), len(found["text"][0]) < 2**21) == ([1], True)
    assert queue.grep("^1,|,500000$|last")["line"].tolist() == [1, 2]
