"""Commands on a queue that does not exist: most refuse and create nothing."""

from __future__ import annotations

import json
import os
import pickle
from typing import TYPE_CHECKING

import click
import pytest

from queuectl_nb.client import Queue
from queuectl_nb.commands.app import root
from queuectl_nb.commands.help import topic_text
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ran

NEED_A_QUEUE: tuple[tuple[str, ...], ...] = (
    ("artifacts", "a"),
    ("backup", "copy.db"),
    ("cancel", "a"),
    ("config", "unset", "timeout"),
    ("dashboard",),
    ("delete", "a"),
    ("dlq", "list"),
    ("dlq", "purge", "--all"),
    ("dlq", "retry", "--all"),
    ("edit", "a", "--priority", "1"),
    ("errors",),
    ("grep", "x"),
    ("limit",),
    ("list",),
    ("log", "a"),
    ("metrics", "a"),
    ("prune", "--older-than", "0"),
    ("resume",),
    ("retry", "a"),
    ("show", "a"),
    ("stats",),
    ("status",),
    ("wait",),
    ("worker", "list"),
    ("worker", "scale", "1"),
    ("worker", "stop", "worker-1"),
)
WORK_WITHOUT_FILE: tuple[tuple[str, ...], ...] = (("config", "get", "timeout"), ("config", "list"), ("worker", "stop"))
CREATING: tuple[tuple[str, ...], ...] = (
    ("config", "set", "timeout", "60"),
    ("enqueue", "--command", "true"),
    ("limit", "gpu", "2"),
    ("pause", "gpu"),
    ("run", "--command", "true"),
    ("worker", "start", "--drain"),
)
WITHOUT_A_QUEUE = {"completion", "demo", "doctor", "help", "init", "version"}


def test_every_command_is_listed_here() -> None:
    """A new command must be added to one of the lists above."""
    context = click.Context(root)
    all_words = (*NEED_A_QUEUE, *WORK_WITHOUT_FILE, *CREATING)
    listed = {words[0] for words in all_words} | WITHOUT_A_QUEUE
    assert set(root.list_commands(context)) <= listed
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if isinstance(command, click.Group):
            assert set(command.commands) <= {words[1] for words in all_words if words[0] == name}


@pytest.mark.parametrize("words", NEED_A_QUEUE, ids=" ".join)
def test_commands_that_need_a_queue(
    words: tuple[str, ...], run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the path as it was given, and how a queue is created; the exit code is 3."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    ran = run("--db", "typo.db", *words)
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert ran.stderr == "queuectl: no queue at typo.db; 'queuectl enqueue' creates one, --db names another\n"
    assert not os.listdir(folder)


def test_settings_have_their_defaults(run: Callable[..., Ran], tmp_path: Path) -> None:
    """They can be read before there is a queue, but a mistyped path is noticed."""
    path = tmp_path / "typo.db"
    ran = run("--db", str(path), "config", "get", "max_retries")
    assert (ran.exit_code, ran.stdout) == (0, "3\n")
    assert ran.stderr.startswith(f"queuectl: no queue at {path}; ")
    assert list(json.loads(run("--db", str(path), "config", "list", "--json").stdout)) == list(SETTINGS)
    ran = run("--db", str(path), "config", "list")
    assert ran.exit_code == 0
    assert ran.stderr.startswith(f"queuectl: no queue at {path}; ")
    assert not path.exists()
    assert run("--db", str(tmp_path), "config", "list").exit_code == 3  # a folder


def test_worker_stop(run: Callable[..., Ran], tmp_path: Path) -> None:
    """No worker runs on a queue that does not exist: as on any other queue without workers, the exit code is 0."""
    path = tmp_path / "typo.db"
    ran = run("--db", str(path), "worker", "stop")
    assert (ran.exit_code, ran.stdout) == (0, "0 worker(s) stopped.\n")
    assert ran.stderr.startswith(f"queuectl: no queue at {path}; ")
    assert run("--db", str(path), "worker", "stop", "--json").stdout == "[]\n"
    assert not path.exists()
    assert run("--db", str(tmp_path), "worker", "stop").exit_code == 3  # a folder


@pytest.mark.parametrize("words", CREATING, ids=" ".join)
def test_changing_creates_the_queue(words: tuple[str, ...], run: Callable[..., Ran], tmp_path: Path) -> None:
    """What puts something into a queue creates it; the topic ``files`` names these commands."""
    path = tmp_path / "new.db"
    assert f"`{words[0]}" in next(line for line in topic_text("files").splitlines() if "create the file" in line)
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
