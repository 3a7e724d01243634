"""The notebooks as the site's build ran them: each cell, its asserts, and what it was to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from docs.generate.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)  # the first to need the site waits for it
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECKED = "# NBVAL_CHECK_OUTPUT"
"""nbval's word for a cell whose output is the same each time."""


def cells(path: Path) -> list[dict[str, Any]]:
    """Return a notebook's code cells."""
    return [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def shown(cell: dict[str, Any], *, merged: bool = False) -> list[str]:
    """Return what a cell shows, as texts: both streams, then the rest.

    The build has ``merged`` all of a stream into its first piece, with an empty line where two met, and left the others
    where they were; so empty lines do not count.
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
def test_a_notebook_ran_as_it_was_saved(notebook: Path, site: Path) -> None:
    """Every cell ran without an error; those that say so show what the saved notebook shows."""
    saved, ran = cells(notebook), cells(site.parent / "jupyter_execute/notebooks" / notebook.name)
    assert len(saved) == len(ran)
    for number, (before, now) in enumerate(zip(saved, ran, strict=True)):
        assert now["execution_count"], f"cell {number} was not run"
        assert not [output for output in now["outputs"] if output["output_type"] == "error"]
        if CHECKED in "".join(before["source"]):
            assert shown(now, merged=True) == shown(before), f"cell {number} of {notebook.name}"
