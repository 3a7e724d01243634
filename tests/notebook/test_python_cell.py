"""Python cells as programs."""

from __future__ import annotations

import subprocess

import pytest

from queuectl_nb.notebook.python_cell import python_command

POOL = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

class Point:
    def __init__(self, x):
        self.x = x

def scale(point):
    return Point(point.x * factor)

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        print([point.x for point in pool.map(scale, [Point(1), Point(2)], timeout=60)], sys.argv)
"""


def run(source: str, **values: object) -> subprocess.CompletedProcess[str]:
    """Run the command of a cell."""
    command = python_command(source, values)
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_finds_what_the_cell_defines(method: str) -> None:
    """Functions, classes and variables of the cell exist in processes of every start method."""
    found = run(POOL, method=method, factor=10)
    assert (found.stdout, found.stderr) == ("[10, 20] ['<cell>']\n", "")


def test_namespace_of_a_cell_has_no_other_names() -> None:
    """A cell sees its variables, and otherwise an empty main module."""
    found = run("print(sorted(name for name in globals() if not name.startswith('__')), __name__)", lr=0.1)
    assert (found.stdout, found.stderr) == ("['lr'] __main__\n", "")


def test_traceback_of_a_cell_shows_only_the_cell() -> None:
    """The traceback starts in the cell, with its line numbers and source."""
    found = run("x = 1\nraise ValueError(x)")
    assert found.returncode == 1
    assert found.stderr.splitlines()[1:] == [
        '  File "<cell>", line 2, in <module>',
        "    raise ValueError(x)",
        "ValueError: 1",
    ]
