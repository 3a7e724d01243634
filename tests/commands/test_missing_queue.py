"""Commands on a queue that does not exist: those that read say so, and read an empty one."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from typing import TYPE_CHECKING

import click
import pytest

from queuectl_nb.client import Queue
from queuectl_nb.commands.app import root
from queuectl_nb.model.errors import BadEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ran

READING: tuple[tuple[int, tuple[str, ...]], ...] = (
    (5, ("artifacts", "a")),
    (3, ("backup", "copy.db")),
    (5, ("cancel", "a")),
    (0, ("config", "get", "timeout")),
    (0, ("config", "list")),
    (0, ("config", "unset", "timeout")),
    (5, ("delete", "a")),
    (0, ("dlq", "list")),
    (0, ("dlq", "purge", "--all")),
    (0, ("dlq", "retry", "--all")),
    (5, ("edit", "a", "--priority", "1")),
    (0, ("errors",)),
    (1, ("grep", "x")),
    (0, ("limit",)),
    (0, ("list",)),
    (5, ("log", "a")),
    (5, ("metrics", "a")),
    (0, ("prune", "--older-than", "0")),
    (0, ("resume",)),
    (5, ("retry", "a")),
    (5, ("show", "a")),
    (0, ("stats",)),
    (0, ("status",)),
    (0, ("wait",)),
    (0, ("worker", "list")),
    (5, ("worker", "scale", "1")),
    (0, ("worker", "stop")),
    (5, ("worker", "stop", "worker-1")),
)
"""Exit code and command; each reads an empty queue."""
CREATING: tuple[tuple[str, ...], ...] = (
    ("config", "set", "timeout", "60"),
    ("enqueue", "--command", "true"),
    ("pause", "gpu"),
    ("run", "--command", "true"),
    ("worker", "start", "--drain"),
)
WITHOUT_A_QUEUE = {"completion", "dashboard", "demo", "doctor", "help", "init", "version"}


def test_every_command_is_listed_here() -> None:
    """A new command must be added to one of the lists above."""
    context = click.Context(root)
    commands = [*(words for _, words in READING), *CREATING]
    listed = {words[0] for words in commands} | WITHOUT_A_QUEUE
    assert set(root.list_commands(context)) <= listed
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if isinstance(command, click.Group):
            assert set(command.commands) <= {words[1] for words in commands if words[0] == name}


@pytest.mark.parametrize(("code", "words"), READING, ids=lambda each: " ".join(each) if isinstance(each, tuple) else "")
def test_reading_creates_nothing(
    code: int, words: tuple[str, ...], run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing queue is read as an empty one; the path as it was given is named on one line of stderr."""
    folder, temporary = tmp_path / "empty", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    ran = run("--db", "typo.db", *words)
    assert ran.exit_code == code, ran
    assert ran.stderr.endswith("no queue at typo.db; 'queuectl enqueue' creates one, --db names another\n")
    assert ran.stderr.count("\n") == 1
    assert not os.listdir(folder)
    assert not os.listdir(temporary)


def test_json_of_a_missing_queue(run: Callable[..., Ran], tmp_path: Path) -> None:
    """Programs get the shapes of an empty queue."""
    path = str(tmp_path / "typo.db")
    assert run("list", "--json", "--db", path).stdout == "[]\n"
    assert run("dlq", "list", "--db", path).stdout == "DLQ is empty.\n"
    assert run("worker", "stop", "--json", "--db", path).stdout == "[]\n"
    assert set(json.loads(run("status", "--json", "--db", path).stdout)["counts"].values()) == {0}


def test_missing_folder(run: Callable[..., Ran], tmp_path: Path) -> None:
    """A path whose folder does not exist, or that is a folder, is an error."""
    for path in (tmp_path / "typo" / "a.db", tmp_path):
        ran = run("--db", str(path), "list")
        assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (3, "", 1)


@pytest.mark.parametrize("words", CREATING, ids=" ".join)
def test_changing_creates_the_queue(words: tuple[str, ...], run: Callable[..., Ran], tmp_path: Path) -> None:
    """What puts something into a queue creates it."""
    path = tmp_path / "new.db"
    assert run("--db", str(path), *words).exit_code == 0
    assert path.is_file()


def test_before_the_first_job(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any queue the message names the default path, which is not created; ``doctor`` finds no fault."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUEUECTL_DB", raising=False)
    data = tmp_path / "data"
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    default = data / "queuectl" / "queue.db"
    assert f"no queue at {default}; 'queuectl enqueue' creates one" in run("status").stderr
    assert run("doctor").exit_code == 0
    assert not data.exists()
    assert run("enqueue", "--command", "true").exit_code == 0
    assert default.is_file()
    assert run("status").exit_code == 0


def test_missing_queue_in_python(tmp_path: Path) -> None:
    """``create=False`` refuses a missing file; a pickled queue does not create it again."""
    path = tmp_path / "a.db"
    with pytest.raises(BadEnvironment, match="no queue at"):
        Queue(path, create=False)
    assert not os.listdir(tmp_path)
    queue = Queue(path)
    stored = pickle.dumps(queue)
    queue.close()
    path.unlink()
    with pytest.raises(BadEnvironment, match="no queue at"):
        pickle.loads(stored)
    assert not path.exists()
