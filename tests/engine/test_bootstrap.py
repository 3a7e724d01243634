"""Start of a supervisor."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from queuectl_nb.engine import bootstrap


def test_the_limit_of_address_space_does_not_reduce_the_workers() -> None:
    """``ulimit -v`` applies to each process: it says nothing about how many processes may run."""
    code = (
        "from queuectl_nb.engine.bootstrap import _count_startable_threads;"
        "import resource, threading; resource.setrlimit(resource.RLIMIT_AS, (300_000_000,) * 2);"
        "print(_count_startable_threads(200), threading.stack_size())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "200 0\n"


@pytest.mark.parametrize("forks", [True, False])
def test_the_limit_is_tried_in_a_fork(monkeypatch: pytest.MonkeyPatch, *, forks: bool) -> None:
    """The threads that try the limit of processes leave nothing in the memory that workers inherit."""
    monkeypatch.setattr(bootstrap, "can_fork", lambda: forks)
    pids: list[int] = []

    def count(wanted: int) -> int:
        pids.append(os.getpid())
        return wanted

    assert bootstrap._in_fork(count, 7) == 7
    assert bool(pids) is not forks


def test_no_room_for_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that allows no fork allows no worker."""

    def fail() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(bootstrap, "can_fork", lambda: True)
    monkeypatch.setattr(os, "fork", fail)
    assert bootstrap._in_fork(lambda wanted: wanted, 7) == 0
