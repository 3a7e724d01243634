"""Invalid input: one line on stderr, the right exit code, and an unchanged queue."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.model.job import JobSpec
from tests.cli.invalid_inputs import IMPOSSIBLE_ACTIONS, INVALID_ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.conftest import Ran


LONG = "LONG"
"""Replaced by a text of a megabyte."""


def dump(path: Path) -> list[str]:
    """Return the whole content of a queue as SQL."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@pytest.fixture
def three_jobs(queue: Queue) -> Queue:
    """Return a queue with the jobs ``there`` (pending), ``done`` (completed) and ``dead``."""
    enqueue_specs(
        queue, [JobSpec.from_fields({"command": "true", "id": job_id}) for job_id in ("there", "done", "dead")]
    )
    with queue.store.db.write() as connection:
        for job_id, state in (("done", "completed"), ("dead", "dead")):
            connection.execute("UPDATE jobs SET state = ?, ready = 0 WHERE id = ?", (state, job_id))
    return queue


def assert_refused(ran: Ran, code: int) -> None:
    """Check the exit code, and that the only output is one printable line on stderr."""
    assert ran.exit_code == code, ran.stderr
    assert ran.out == b""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("queuectl: ")
    assert line.isprintable()
    assert "Traceback" not in line
    assert "internal error" not in line


@pytest.mark.parametrize("name", INVALID_ARGUMENTS)
def test_invalid_arguments(name: str, run: Callable[..., Ran], three_jobs: Queue) -> None:
    """Invalid arguments are exit code 2 and one line; the database is unchanged."""
    before = dump(three_jobs.path)
    assert_refused(run(*INVALID_ARGUMENTS[name]), 2)
    assert dump(three_jobs.path) == before


@pytest.mark.parametrize("name", IMPOSSIBLE_ACTIONS)
def test_impossible_actions(name: str, run: Callable[..., Ran], three_jobs: Queue) -> None:
    """Unknown jobs and jobs in the wrong state are exit code 5; the database is unchanged."""
    before = dump(three_jobs.path)
    assert_refused(run(*IMPOSSIBLE_ACTIONS[name]), 5)
    assert dump(three_jobs.path) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["list", "--state", "done"], "pending, processing, failed, completed, dead, cancelled, blocked"),
        (["list", "--sort", "x"], "updated_at"),
        (["list", "--sort", "-id"], "'-id' is unknown"),
        (["stats", "--since", "99999d"], "from 0 to 3153600000 seconds, not '99999d'"),
        (["list", "--format", "xml"], "table, json, jsonl, csv"),
        (["list", "--stat", "x"], "--state"),
        (["config", "set", "x", "1"], "backoff_base"),
        (["config", "set", "backoff_base", "0"], "1 to 1000"),
        (["worker", "x"], "start, stop, scale, list"),
        (["dlq", "x"], "list, retry, purge"),
        (["x"], "enqueue, run, list, show"),
        (["stats", "--by", "x"], "command, queue, tag"),
        (["completion", "x"], "bash, zsh, fish"),
        (["enqueue", "echo", "hi"], "put -- before the command"),
        (["retry", "there"], "failed, completed, dead, cancelled"),
    ],
)
@pytest.mark.usefixtures("three_jobs")
def test_an_error_names_the_valid_choices(words: list[str], named: str, run: Callable[..., Ran]) -> None:
    """Error messages list the valid choices."""
    assert named in run(*words).stderr


@pytest.mark.parametrize(
    "words",
    [
        ["status", LONG],
        ["enqueue", LONG],
        ["enqueue", "--from", LONG],
        ["enqueue", "--command", "true", "--cwd", LONG],
        ["list", "--state", LONG],
        ["worker", "stop", LONG],
        ["show", LONG],
        ["help", LONG],
        ["status", "--db", LONG],
        ["stats", "--plot", LONG],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("three_jobs")
def test_an_error_about_a_long_argument_is_short(words: list[str], run: Callable[..., Ran]) -> None:
    """An argument of a megabyte does not fill the terminal."""
    ran = run(*["x" * 1_000_000 if word == LONG else word for word in words])
    assert_refused(ran, 3 if "--db" in words else 5 if words[0] in ("show", "worker") else 2)
    assert len(ran.stderr) < 1100


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"{", "JSON"),
        (b'{"command": "true", "id": "../x"}', "id"),
        (b'{"command": ""}', "empty"),
        (b'{"command": "\xff"}', "UTF-8"),
        (b'{"command": "true", "nice": 1}', "nice"),
        (b"[1]", "object"),
        (b'{"command": "true", "cwd": "/nowhere/at/all"}', "cwd"),
    ],
)
def test_invalid_line_in_a_file(bad: bytes, why: str, run: Callable[..., Ran], three_jobs: Queue) -> None:
    """An error names the line number, and no job of the file is enqueued."""
    good = json.dumps({"command": "true"}).encode()
    before = dump(three_jobs.path)
    ran = run("enqueue", "--from", "-", stdin=b"\n".join([good, b"", bad, good]))
    assert_refused(ran, 2)
    assert "line 3" in ran.stderr
    assert why in ran.stderr
    assert dump(three_jobs.path) == before


def test_duplicate_id_in_a_file(run: Callable[..., Ran], three_jobs: Queue) -> None:
    """A duplicate id, in the file or in the queue, refuses the whole file."""
    before = dump(three_jobs.path)
    twice = b'{"command": "true", "id": "a"}\n{"command": "true", "id": "a"}\n'
    taken = b'{"command": "true"}\n{"command": "true", "id": "there"}\n'
    assert_refused(run("enqueue", "--from", "-", stdin=twice), 2)
    assert_refused(run("enqueue", "--from", "-", stdin=taken), 2)
    assert dump(three_jobs.path) == before


def test_folder_as_queue(run: Callable[..., Ran], tmp_path: Path) -> None:
    """``--db`` with a folder is exit code 3; the folder stays empty."""
    folder = tmp_path / "folder"
    folder.mkdir()
    assert_refused(run("list", "--db", str(folder)), 3)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [["config", "list"], ["enqueue", "--command", "true"], ["worker", "start"]])
def test_invalid_stored_setting(words: list[str], run: Callable[..., Ran], queue: Queue) -> None:
    """Commands that use an invalid stored setting end with exit code 3 and name it."""
    with queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('backoff_base', 'banana')")
    before = dump(queue.path)
    ran = run(*words)
    assert_refused(ran, 3)
    assert "backoff_base" in ran.stderr
    assert dump(queue.path) == before


@pytest.mark.parametrize("words", [["config", "set", "backoff-base", "3"], ["config", "unset", "backoff_base"]])
def test_repair_of_a_stored_setting(words: list[str], run: Callable[..., Ran], queue: Queue) -> None:
    """``config set`` and ``config unset`` repair an invalid stored setting."""
    with queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('backoff_base', 'banana')")
    assert run(*words).exit_code == 0
    assert run("config", "list").exit_code == 0
