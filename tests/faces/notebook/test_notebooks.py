"""The notebooks that we give away can be tested by nbval; that all of them run, the site's build shows (tests/docs)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.journeys.console import environment

ROOT = Path(__file__).parents[3]


def test_nbval_takes_a_notebook(queue_path: Path) -> None:
    """Every cell of the quickstart runs under nbval, and its asserts hold (lax)."""
    notebook = ROOT / "notebooks/01-quickstart.ipynb"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", notebook],
        env=environment(queue_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
