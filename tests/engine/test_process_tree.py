"""Finding what a process has started."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import psutil
import pytest

from queuectl_nb.engine import process_tree
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SLEEP = "61.25"


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[bytes]]:
    """Return a shell that has a shell as its child, which has a sleep in a session of its own."""
    process = subprocess.Popen(["sh", "-c", f"sh -c 'setsid sleep {SLEEP} & wait' & wait"])
    yield process
    process_tree.kill_tree(lambda: process_tree.descendants(process.pid, scan=True))
    process.kill()
    process.wait()


def names(found: list[psutil.Process]) -> list[list[str]]:
    """Return the command lines of processes."""
    lines = []
    for process in found:
        try:
            lines.append(process.cmdline())
        except psutil.Error:  # it ended this very moment
            continue
    return lines


@pytest.mark.parametrize("scan", [False, True])
def test_descendants_are_found_whatever_session_they_are_in(shell: subprocess.Popen[bytes], *, scan: bool) -> None:
    """Children and grandchildren are found, in sessions of their own too; we ourselves and spared subtrees are not."""
    until(lambda: ["sleep", SLEEP] in names(process_tree.descendants(os.getpid(), scan=scan)))
    found = {process.pid for process in process_tree.descendants(os.getpid(), scan=scan)}
    assert shell.pid in found
    assert os.getpid() not in found
    spared = process_tree.descendants(os.getpid(), exclude=[shell.pid], scan=scan)
    assert shell.pid not in {process.pid for process in spared}
    assert ["sleep", SLEEP] not in names(spared)


@pytest.mark.parametrize("scan", [False, True])
def test_the_dead_are_no_descendants(*, scan: bool) -> None:
    """One that ended and was not reaped yet is not found."""
    process = subprocess.Popen(["true"])
    try:
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        assert process.pid not in {each.pid for each in process_tree.descendants(os.getpid(), scan=scan)}
    finally:
        process.wait()
