"""The published notebooks are tested with nbval: every cell, with a new queue.

Lax: a cell's own asserts hold; strict, its output as it is saved, where it says ``# NBVAL_CHECK_OUTPUT``. The site's
build (tests/docs) runs them once more, for their pictures.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.terminals import environment

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)  # six kernels, on a busy machine
def test_nbval(queue_path: Path) -> None:
    """Every cell runs, its asserts hold, and deterministic output equals the saved one."""
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert {path.name[:2] for path in notebooks} >= {"01", "02", "03", "04", "05"}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", *notebooks],
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
