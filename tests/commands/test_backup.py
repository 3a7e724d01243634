"""``backup`` on the console and in a notebook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from queuectl_nb.commands.app import run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from queuectl_nb.client import Queue
    from tests.conftest import Ran


def test_backup_on_the_console(
    run: Callable[..., Ran], queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the file and the number of jobs; an existing file is refused without ``--force``."""
    monkeypatch.chdir(tmp_path)
    queue.enqueue_many([{"command": "true"}] * 12)
    assert run("backup", "b.db").stdout == "Backup written: b.db (12 jobs)\n"
    refused = run("backup", "b.db")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "b.db exists" in refused.stderr
    assert run("backup", "").stderr == "queuectl: the backup needs the path of a file\n"
    assert json.loads(run("backup", "b.db", "--force", "--json").stdout) == {"path": str(tmp_path / "b.db"), "jobs": 12}
    assert "12" in run("--db", "b.db", "status").stdout


def test_backup_in_a_notebook(queue: Queue, tmp_path: Path) -> None:
    """The magic returns the path, as the method does."""
    found = run_command_line(["backup", str(tmp_path / "a.db")], Context(lambda *_: queue))
    assert isinstance(found, Done)
    assert found.value() == tmp_path / "a.db"
    assert queue.backup(tmp_path / "b.db") == tmp_path / "b.db"
    assert isinstance(queue.backup(str(tmp_path / "c.db")), Path)


def test_name_in_invalid_utf8(run: Callable[..., Ran], tmp_path: Path) -> None:
    """A backup may have any name that the file system allows."""
    target = tmp_path / "a\udcff%b"
    ran = run("backup", str(target))
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert run("status", "--db", str(target)).exit_code == 0
