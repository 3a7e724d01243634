"""The notebooks that we give away run from a fresh queue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.journeys.console import environment

ROOT = Path(__file__).parents[3]


def test_the_notebooks_run(queue_path: Path) -> None:
    """Every cell of every notebook runs, and its asserts hold (nbval, lax)."""
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", *notebooks],
        env=environment(queue_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
