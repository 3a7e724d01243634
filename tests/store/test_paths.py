"""Which queue is used by default, and how paths are resolved."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl_nb.model.errors import BadEnvironment, BadInput
from queuectl_nb.store.paths import find_queue, is_missing, real_path, require_queue, user_queue

OTHER = 12_345


def test_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An explicit path, then ``$QUEUECTL_DB``, the nearest ``.queuectl/`` above, then the user's data directory."""
    project, deep = tmp_path / "project", tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert find_queue() == user_queue()
    assert user_queue().name == "queue.db"
    (project / ".queuectl").mkdir()
    assert find_queue() == project / ".queuectl" / "queue.db"
    (deep / ".queuectl").mkdir()
    assert find_queue() == deep / ".queuectl" / "queue.db"
    monkeypatch.setenv("QUEUECTL_DB", "other.db")
    assert find_queue() == deep / "other.db"
    assert find_queue("given.db") == deep / "given.db"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_queue("~/x.db") == tmp_path / "x.db"
    assert find_queue("~nobody-of-that-name/x.db") == deep / "~nobody-of-that-name" / "x.db"


def test_removed_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a removed directory absolute paths and the user's queue work, relative paths do not."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_queue() == user_queue()
    assert find_queue("/x/q.db") == Path("/x/q.db")
    with pytest.raises(BadEnvironment, match="working directory was removed"):
        find_queue("q.db")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("home", [None, "", "~", "relative"])
def test_user_without_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    """A user id without an account, or a HOME that is empty or no path, is a named error; no ``~`` is created."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    if home != "relative":
        for path in ("~", "~/q.db"):
            with pytest.raises(BadEnvironment, match="no home directory, so ~"):
                find_queue(path)
    with pytest.raises(BadEnvironment, match="no home directory for a default queue; set HOME"):
        find_queue()
    assert find_queue("q.db") == tmp_path / "q.db"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user needs root")
def test_other_users_project_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``.queuectl/`` of another local user in a parent directory (such as /tmp) is ignored."""
    planted, here = tmp_path / ".queuectl", tmp_path / "here"
    planted.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    assert find_queue() == planted / "queue.db"
    os.chown(planted, OTHER, OTHER)
    assert find_queue() == user_queue()


def test_missing_queue(tmp_path: Path) -> None:
    """A path that does not exist is named as the user gave it; any other one is checked when it is opened."""
    file = tmp_path / "q.db"
    for missing in (file, tmp_path / "none" / "q.db"):
        with pytest.raises(BadEnvironment, match=r"^no queue at given\.db; 'queuectl enqueue' creates one"):
            require_queue(missing, "given.db")
    file.touch()
    assert is_missing(file / "q.db")
    for other in (file, tmp_path, Path("a\0b"), tmp_path / ("x" * 300)):
        require_queue(other, "given.db")


def test_empty_path() -> None:
    """It is not the default queue: a variable of a script may be empty by mistake."""
    with pytest.raises(BadInput, match="the path of the queue is empty; leave it out"):
        find_queue("")


def test_path_with_a_nul() -> None:
    """The error names the path as Python writes it, and the reason."""
    with pytest.raises(BadEnvironment, match=r"'a\\x00b' cannot be opened: .*embedded null"):
        real_path(Path("a\0b"))
