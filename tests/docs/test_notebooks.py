"""The notebooks as the site's build ran them: each cell, its asserts, and what it was to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from docs.generate.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)  # the first test waits for the build of the site
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECKED = "# NBVAL_CHECK_OUTPUT"
"""The nbval marker of a cell with deterministic output."""


def cells(path: Path) -> list[dict[str, Any]]:
    """Return the code cells of a notebook."""
    return [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def shown(cell: dict[str, Any], *, merged: bool = False) -> list[str]:
    """Return the outputs of a cell as texts: both streams, then the rest.

    The build may have ``merged`` all parts of a stream into the first one, separated by empty lines, which are ignored.
    """
    streams: dict[str, str] = {}
    others = []
    for output in cell["outputs"]:
        if output["output_type"] != "stream":
            others.append("".join(output.get("data", {}).get("text/plain", "")))
        elif not merged or output["name"] not in streams:
            streams[output["name"]] = streams.get(output["name"], "") + "".join(output["text"])
    texts = [streams.get("stdout", ""), streams.get("stderr", ""), *others]
    return ["\n".join(line for line in text.splitlines() if line.strip()) for text in texts]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_with_its_saved_output(notebook: Path, site: Path) -> None:
    """Every cell ran without an error, and cells marked for it show their saved output."""
    saved, ran = cells(notebook), cells(site.parent / "jupyter_execute/notebooks" / notebook.name)
    assert len(saved) == len(ran)
    for number, (before, now) in enumerate(zip(saved, ran, strict=True)):
        assert now["execution_count"], f"cell {number} was not run"
        assert not [output for output in now["outputs"] if output["output_type"] == "error"]
        if CHECKED in "".join(before["source"]):
            assert shown(now, merged=True) == shown(before), f"cell {number} of {notebook.name}"
