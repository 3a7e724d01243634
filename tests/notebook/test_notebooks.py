"""The published notebooks are tested with nbval: every cell, with a new queue.

Lax: a cell's own asserts hold; strict, its output as it is saved, where it says ``# NBVAL_CHECK_OUTPUT``. The site's
build (tests/docs) runs them once more, for their pictures.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.terminals import environment

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)  # six kernels, on a busy machine
def test_nbval(queue_path: Path) -> None:
    """Every cell runs, its asserts hold, and deterministic output equals the saved one."""
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert {path.name[:2] for path in notebooks} >= {"01", "02", "03", "04", "05"}
    words = ("-p", "nbval", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *notebooks],
        env=environment(queue_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]


def test_saved_outputs() -> None:
    """Saved outputs contain no local path and no error."""
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        text = path.read_text("utf-8")
        found = [part for part in ("/tmp/", "/home/", "/root/", "/Users/", "site-packages") if part in text]
        assert (path.name, found, '"output_type": "error"' in text) == (path.name, [], False)


@pytest.mark.parametrize("name", ["02-failures", "05-operating-a-queue"])
def test_run_all_works_again_on_the_same_queue(
    name: str, shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notebooks with fixed ids accept what an earlier run of theirs has left."""
    cells = json.loads((ROOT / f"notebooks/{name}.ipynb").read_text("utf-8"))["cells"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda: str(tmp_path))
    for _ in range(2):
        for cell in cells:
            if cell["cell_type"] == "code":
                shell.run_cell("".join(cell["source"])).raise_error()
