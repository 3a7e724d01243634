"""The published notebooks under nbval: every cell, with a new queue.

Lax: a cell's own asserts hold; strict, its output as it is saved, where it says ``# NBVAL_CHECK_OUTPUT``. The build of
the site runs all notebooks, and tests/docs/test_notebooks.py holds them to the same rule. So nbval runs one of them,
the one with the most checked outputs; with ``--soak`` it runs all.
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
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ALWAYS = "05-operating-a-queue"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "notebook",
    [pytest.param(path, id=path.stem, marks=[] if path.stem == ALWAYS else pytest.mark.soak) for path in NOTEBOOKS],
)
def test_nbval(notebook: Path, queue_path: Path) -> None:
    """Every cell runs, its asserts hold, and deterministic output equals the saved one."""
    words = ("-p", "nbval", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words, notebook],
        env=environment(queue_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]


def test_saved_outputs() -> None:
    """Saved outputs contain no local path and no error."""
    assert {path.name[:2] for path in NOTEBOOKS} >= {"01", "02", "03", "04", "05"}
    for path in NOTEBOOKS:
        text = path.read_text("utf-8")
        found = [part for part in ("/tmp/", "/home/", "/root/", "/Users/", "site-packages") if part in text]
        assert (path.name, found, '"output_type": "error"' in text) == (path.name, [], False)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name",
    [
        "02-failures",
        "04-parameter-sweep",
        "05-operating-a-queue",
        "07-functions",
        # starts a kernel for each of six notebooks, 20 s; the build of the site runs it once in any case
        pytest.param("08-cells-and-notebooks", marks=pytest.mark.soak),
    ],
)
def test_run_all_works_again_on_the_same_queue(
    name: str, shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notebooks accept what an earlier run of theirs has left."""
    cells = json.loads((ROOT / f"notebooks/{name}.ipynb").read_text("utf-8"))["cells"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda: str(tmp_path))
    for _ in range(2):
        for cell in cells:
            if cell["cell_type"] == "code":
                shell.run_cell("".join(cell["source"])).raise_error()
