"""``stats --plot``: to a file on the console, below the cell in a notebook; otherwise one line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran

BEGINNINGS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("ending", BEGINNINGS)
def test_plot_file(run: Callable[..., Ran], manual_worker: ManualWorker, tmp_path: Path, ending: str) -> None:
    """The file name determines the format; stdout has the metrics, stderr the path."""
    manual_worker.add("a")
    manual_worker.run("a")
    path = tmp_path / f"stats{ending.upper()}"
    ran = run("stats", "--plot", str(path), "--json")
    assert (ran.exit_code, json.loads(ran.stdout)["attempts"]) == (0, 1)
    assert ran.stderr == f"queuectl: saved the plot to {path}\n"
    assert path.read_bytes().startswith(BEGINNINGS[ending])
    assert run("stats", "--by", "queue", f"--plot={path}").stdout == run("stats", "--by", "queue").stdout


REFUSED = {
    ("--plot",): (2, "--plot needs a file name"),
    ("--plot", "--by", "queue"): (2, "--plot needs a file name"),
    ("--plot", "x.doc"): (2, "valid extensions: "),
    ("--plot", "x"): (2, "valid extensions: "),
    ("--plot", "/nowhere/x.png"): (3, "/nowhere/x.png: No such file"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_unusable_file(
    run: Callable[..., Ran], words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file, an unknown extension or a missing folder: one line with the remedy."""
    monkeypatch.chdir(tmp_path)
    before = {path for path in tmp_path.iterdir() if "queue.db" not in path.name}
    ran = run("stats", *words)
    code, part = REFUSED[words]
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (code, "", 1)
    assert part in ran.stderr
    assert {path for path in tmp_path.iterdir() if "queue.db" not in path.name} == before


def test_without_matplotlib(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3 and one line."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = run("stats", "--plot", str(tmp_path / "x.png"))
    assert (ran.exit_code, ran.stderr.count("\n")) == (3, 1)
    assert "pip install 'queuectl-nb[plot]'" in ran.stderr
