"""Finding the descendants of a process."""

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
    """Return a shell whose child shell has a ``sleep`` in a session of its own."""
    process = subprocess.Popen(["sh", "-c", f"sh -c 'setsid sleep {SLEEP} & wait' & wait"])
    yield process
    process_tree.kill_tree(lambda: process_tree.descendants(process.pid, scan=True))
    process.kill()
    process.wait()


def command_lines(found: list[psutil.Process]) -> list[list[str]]:
    """Return the command lines of processes."""
    lines = []
    for process in found:
        try:
            lines.append(process.cmdline())
        except psutil.Error:  # it has just exited
            continue
    return lines


@pytest.mark.parametrize("scan", [False, True])
def test_descendants_in_other_sessions_are_found(shell: subprocess.Popen[bytes], *, scan: bool) -> None:
    """Descendants in any session are found, except this process and excluded subtrees."""
    until(lambda: ["sleep", SLEEP] in command_lines(process_tree.descendants(os.getpid(), scan=scan)))
    found = {process.pid for process in process_tree.descendants(os.getpid(), scan=scan)}
    assert shell.pid in found
    assert os.getpid() not in found
    others = process_tree.descendants(os.getpid(), exclude=[shell.pid], scan=scan)
    assert shell.pid not in {process.pid for process in others}
    assert ["sleep", SLEEP] not in command_lines(others)


@pytest.mark.parametrize("scan", [False, True])
def test_zombies_are_not_descendants(*, scan: bool) -> None:
    """A zombie is not found."""
    process = subprocess.Popen(["true"])
    try:
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        assert process.pid not in {each.pid for each in process_tree.descendants(os.getpid(), scan=scan)}
    finally:
        process.wait()
