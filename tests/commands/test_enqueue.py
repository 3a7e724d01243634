"""``enqueue`` in its five forms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.job import JOB_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.conftest import Ran

HARD = "echo 'a \"b\" $HOME' $(date)\n\temoji 🐍 \\ back"


def test_a_command_is_said_in_the_seeds_words(run: Callable[..., Ran]) -> None:
    """The line names the id and the priority, and with a delay when it will run."""
    assert run("enqueue", "--id", "job-1", "--command", "echo hi").stdout == "Job enqueued: job-1 (priority: 0)\n"
    ran = run("enqueue", "--id", "job-3", "--command", "echo 'I am important'", "--priority", "10", "--delay", "30")
    assert ran.stdout == "Job enqueued: job-3 (priority: 10). Will run after 30 seconds.\n"
    ran = run("enqueue", "--id", "half", "--command", "true", "--delay", "0.5")
    assert ran.stdout == "Job enqueued: half (priority: 0). Will run after 0.5 seconds.\n"


def test_a_moment_and_other_jobs_are_said_too(run: Callable[..., Ran]) -> None:
    """A job that waits for a time or for others says so."""
    run("enqueue", "--id", "a", "--command", "true")
    assert run("enqueue", "--id", "b", "--command", "true", "--after", "a").stdout.endswith(". Will run after a.\n")
    ran = run("enqueue", "--id", "c", "--command", "true", "--run-at", "2030-01-02T03:04:05Z")
    assert ran.stdout == "Job enqueued: c (priority: 0). Will run at 2030-01-02T03:04:05.000Z.\n"
    ran = run("enqueue", "--id", "past", "--command", "true", "--run-at", "2020-01-02")
    assert ran.stdout == "Job enqueued: past (priority: 0)\n"


def test_a_command_arrives_verbatim(run: Callable[..., Ran], queue: Queue) -> None:
    """Quotes, newlines, ``$()`` and emoji are the job's business."""
    assert run("enqueue", "--id", "a", "--command", HARD).exit_code == 0
    assert queue.job("a").command == HARD


def test_words_are_quoted_for_the_shell(run: Callable[..., Ran], queue: Queue) -> None:
    """What stands after ``--`` reaches the program word for word, options of ours included."""
    run("enqueue", "--id", "a", "--", "python", "-c", "print('x')", "--priority", "a b", "$HOME", "--")
    assert queue.job("a").command == "python -c 'print('\"'\"'x'\"'\"')' --priority 'a b' '$HOME' --"
    assert queue.job("a").priority == 0


def test_json_takes_every_field(run: Callable[..., Ran], queue: Queue, tmp_path: Path) -> None:
    """One object may have any field of a job; a null counts as not given."""
    run("enqueue", "--id", "before", "--command", "true")
    wish = {
        "id": "a",
        "command": "true",
        "priority": 5,
        "run_at": "2030-01-01T00:00:00Z",
        "timeout": 1.5,
        "max_retries": 7,
        "queue": "gpu",
        "tags": ["x", "y"],
        "after": ["before"],
        "cwd": str(tmp_path),
        "env": {"A": "b"},
        "delay": None,
    }
    ran = run("enqueue", json.dumps(wish))
    assert ran.exit_code == 0, ran.stderr
    job = queue.job("a").to_dict()
    for key in ("priority", "timeout", "max_retries", "queue", "tags", "after", "cwd"):
        assert job[key] == wish[key]
    assert job["run_at"] == "2030-01-01T00:00:00.000Z"


def test_options_stand_beside_json(run: Callable[..., Ran], queue: Queue) -> None:
    """What the object leaves open, options may say."""
    run("enqueue", '{"command": "true", "id": "a"}', "--priority", "3", "--tag", "x")
    assert (queue.job("a").priority, queue.job("a").tags) == (3, ("x",))


def test_lines_are_enqueued_together(run: Callable[..., Ran], queue: Queue, tmp_path: Path) -> None:
    """Each line of a file or of standard input is a job; options stand for what a line leaves open."""
    lines = b'\xef\xbb\xbf{"command": "true", "id": "a"}\r\n\n{"command": "true", "id": "b", "queue": "cpu"}'
    file = tmp_path / "jobs.jsonl"
    file.write_bytes(lines)
    assert run("enqueue", "--from", str(file), "--queue", "gpu").stdout == "2 jobs enqueued\n"
    assert (queue.job("a").queue, queue.job("b").queue) == ("gpu", "cpu")
    assert run("enqueue", "--from", "-", stdin=b'{"command": "true"}\n').stdout == "1 jobs enqueued\n"
    assert run("enqueue", "--from", "-", stdin=b"").stdout == "0 jobs enqueued\n"


@pytest.mark.parametrize(
    ("last", "code", "why"),
    [
        (b'{"command": "b", "id": "a"}', 2, "line 4: job a occurs twice in the list; ids are unique"),
        (b'{"command": "b", "after": ["z"]}', 5, "line 4: no job z to wait for"),
        (b'{"command": "b", "id": "there"}', 2, "line 4: job there is already in the queue"),
    ],
)
def test_a_line_that_does_not_fit_the_others_is_named(
    run: Callable[..., Ran], queue: Queue, last: bytes, code: int, why: str
) -> None:
    """Its number is told, blank lines counted, whatever is wrong with it; nothing is enqueued."""
    queue.enqueue("true", id="there")
    ran = run("enqueue", "--from", "-", stdin=b'\n{"command": "a", "id": "a"}\n\n' + last + b"\n")
    assert ran.exit_code == code
    assert why in ran.stderr
    assert ran.stderr.rstrip().endswith("nothing was enqueued")
    assert sum(queue.store.reader.counts().values()) == 1


def test_json_answers(run: Callable[..., Ran]) -> None:
    """``--json`` gives the job as it stands in the queue; with lines, an array."""
    job = json.loads(run("enqueue", "--command", "true", "--json").stdout)
    assert list(job) == list(JOB_FIELDS)
    assert (job["state"], job["attempts"], job["max_retries"], job["timeout"]) == ("pending", 0, None, None)
    jobs = json.loads(
        run("enqueue", "--from", "-", "--json", stdin=b'{"command": "true"}\n{"command": "false"}').stdout
    )
    assert [each["command"] for each in jobs] == ["true", "false"]


def test_if_absent_leaves_the_job_as_it_is(run: Callable[..., Ran], queue: Queue) -> None:
    """The same id with the same command is no mistake, and no second job."""
    words = ("enqueue", "--id", "a", "--command", "true", "--if-absent")
    assert run(*words).stdout == "Job enqueued: a (priority: 0)\n"
    ran = run(*words)
    assert (ran.exit_code, ran.stdout) == (0, "Job a is already in the queue.\n")
    assert json.loads(run(*words, "--json").stdout)["id"] == "a"
    assert sum(queue.store.reader.counts().values()) == 1


@pytest.mark.parametrize("option", ["--max-retries", "--max_retries"])
def test_hyphens_and_underscores_are_the_same(option: str, run: Callable[..., Ran], queue: Queue) -> None:
    """An option may be written either way."""
    run("enqueue", "--id", "a", "--command", "true", option, "5")
    assert queue.job("a").max_retries == 5


def test_repeated_options_add_up(run: Callable[..., Ran], queue: Queue) -> None:
    """``--tag`` and ``--after`` may stand several times."""
    run("enqueue", "--id", "a", "--command", "true")
    run("enqueue", "--id", "b", "--command", "true")
    run("enqueue", "--id", "c", "--command", "true", "--tag", "x", "--tag", "y", "--after", "a", "--after", "b")
    job = queue.job("c")
    assert (job.tags, job.after, str(job.state)) == (("x", "y"), ("a", "b"), "blocked")


def test_the_environment_keeps_the_users_path(
    run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the console a job has the PATH of its owner, with no interpreter put in front."""
    monkeypatch.setenv("PATH", "/one:/two")
    run("enqueue", "--id", "a", "--command", "true")
    with queue.store.db.read() as connection:
        (body,) = connection.execute("SELECT body FROM environments").fetchone()
    assert json.loads(body)["PATH"] == "/one:/two"
