"""Bad input: one line on stderr, the exit code of its kind, and not a byte of the queue changed."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.job import JobSpec
from tests.cli.invalid_inputs import BAD_STATES, BAD_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.conftest import Ran


def dump(path: Path) -> list[str]:
    """Return the whole content of a queue as SQL."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@pytest.fixture
def peopled(queue: Queue) -> Queue:
    """Return a queue with a job in the states that matter here: ``there`` pending, ``done`` completed, ``dead``."""
    queue.enqueue_specs(
        [JobSpec.from_fields({"command": "true", "id": job_id}) for job_id in ("there", "done", "dead")]
    )
    with queue.store.db.write() as connection:
        for job_id, state in (("done", "completed"), ("dead", "dead")):
            connection.execute("UPDATE jobs SET state = ?, ready = 0 WHERE id = ?", (state, job_id))
    return queue


def refused(ran: Ran, code: int) -> None:
    """Check that a call ended with ``code`` and one line of printable ASCII on stderr, and said nothing else."""
    assert ran.exit_code == code, ran.stderr
    assert ran.out == b""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("queuectl: ")
    assert line.isprintable()
    assert "Traceback" not in line
    assert "internal error" not in line


@pytest.mark.parametrize("name", BAD_WORDS)
def test_bad_words_change_nothing(name: str, run: Callable[..., Ran], peopled: Queue) -> None:
    """Bad input is exit code 2 and one line, and the database is the same as before."""
    before = dump(peopled.path)
    refused(run(*BAD_WORDS[name]), 2)
    assert dump(peopled.path) == before


@pytest.mark.parametrize("name", BAD_STATES)
def test_what_is_not_there_changes_nothing(name: str, run: Callable[..., Ran], peopled: Queue) -> None:
    """An unknown or unfit job is exit code 5 and one line, and the database is the same as before."""
    before = dump(peopled.path)
    refused(run(*BAD_STATES[name]), 5)
    assert dump(peopled.path) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["list", "--state", "done"], "pending, processing, failed, completed, dead, cancelled, blocked"),
        (["list", "--sort", "x"], "updated_at"),
        (["list", "--sort", "-id"], "'-id' is unknown"),
        (["stats", "--since", "99999d"], "36500d at most, not '99999d'"),
        (["list", "--format", "xml"], "table, json, jsonl, csv"),
        (["list", "--stat", "x"], "--state"),
        (["config", "set", "x", "1"], "backoff_base"),
        (["config", "set", "backoff_base", "0"], "1 to 1000"),
        (["worker", "x"], "start, stop, list"),
        (["dlq"], "list, retry, purge"),
        (["x"], "enqueue, status, list"),
        (["stats", "--by", "x"], "command, queue, tag"),
        (["completion", "x"], "bash, zsh, fish"),
        (["enqueue", "echo", "hi"], "put -- before the words"),
        (["retry", "there"], "failed, completed, dead, cancelled"),
    ],
)
@pytest.mark.usefixtures("peopled")
def test_an_error_names_the_valid_choices(words: list[str], named: str, run: Callable[..., Ran]) -> None:
    """Whoever mistypes a word is told the right ones."""
    assert named in run(*words).stderr


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
def test_a_bad_line_is_named_and_none_is_enqueued(
    bad: bytes, why: str, run: Callable[..., Ran], peopled: Queue
) -> None:
    """Of JSON lines all are enqueued or none, and the line at fault is named by its number."""
    good = json.dumps({"command": "true"}).encode()
    before = dump(peopled.path)
    ran = run("enqueue", "--from", "-", stdin=b"\n".join([good, b"", bad, good]))
    refused(ran, 2)
    assert "line 3" in ran.stderr
    assert why in ran.stderr
    assert dump(peopled.path) == before


def test_a_line_with_a_taken_id_leaves_all_out(run: Callable[..., Ran], peopled: Queue) -> None:
    """A duplicate among many lines, in the file or in the queue, refuses them all."""
    before = dump(peopled.path)
    twice = b'{"command": "true", "id": "a"}\n{"command": "true", "id": "a"}\n'
    taken = b'{"command": "true"}\n{"command": "true", "id": "there"}\n'
    refused(run("enqueue", "--from", "-", stdin=twice), 2)
    refused(run("enqueue", "--from", "-", stdin=taken), 2)
    assert dump(peopled.path) == before


def test_a_folder_as_queue_is_the_environments_fault(run: Callable[..., Ran], tmp_path: Path) -> None:
    """``--db`` that names a folder is exit code 3, and nothing appears in it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    refused(run("list", "--db", str(folder)), 3)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [["config", "list"], ["enqueue", "--command", "true"], ["worker", "start"]])
def test_a_spoilt_setting_is_named(words: list[str], run: Callable[..., Ran], queue: Queue) -> None:
    """A setting edited by hand into nonsense ends what uses it with 3 and its name."""
    with queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('backoff_base', 'banana')")
    before = dump(queue.path)
    ran = run(*words)
    refused(ran, 3)
    assert "backoff_base" in ran.stderr
    assert dump(queue.path) == before


@pytest.mark.parametrize("words", [["config", "set", "backoff-base", "3"], ["config", "unset", "backoff_base"]])
def test_a_spoilt_setting_is_mended(words: list[str], run: Callable[..., Ran], queue: Queue) -> None:
    """``config set`` and ``config unset`` take a spoilt setting as it is."""
    with queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('backoff_base', 'banana')")
    assert run(*words).exit_code == 0
    assert run("config", "list").exit_code == 0
