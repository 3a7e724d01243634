"""A notebook of five trivial cells, from its enqueue to the end of its job, compared with ``papermill`` on the console.

Both start the same kernel and write the executed notebook after each cell. The worker has run a notebook before, as it
has when there are several; the console starts an interpreter each time.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure

from queuectl_nb import Queue

if TYPE_CHECKING:
    import argparse

CELLS = ("region = 'EU'", "1 + 1", "print(region)", "[n * n for n in range(10)]", "region.lower()")
WHAT = "a notebook of 5 cells, against papermill"


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both in alternation."""
    try:
        import nbformat
        import papermill  # noqa: F401 - is it installed?
    except ImportError as error:
        return [measure.Row(WHAT, "-", "≤ 1.1", None, str(error))]
    with measure.scratch() as name:
        folder = Path(name)
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook.cells[0].metadata.tags = ["parameters"]
        nbformat.write(notebook, folder / "in.ipynb")

        def console() -> float:
            command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "-p", "region", "US"]
            began = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            return time.perf_counter() - began

        def job() -> float:
            began = time.perf_counter()
            queue.enqueue_notebook(folder / "in.ipynb", {"region": "US"}).wait(check=True)
            return time.perf_counter() - began

        queue = Queue(folder / "queue.db")
        with queue.start_workers(1) as pool:
            job()
            console()
            found = measure.alternate(args.rounds, job, console)
            pool.stop(now=True)
        queue.close()
    return [measure.compare(WHAT, "s", *found, 1.1, at_least=False)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, rounds=10)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
