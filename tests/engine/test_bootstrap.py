"""Start of a supervisor."""

from __future__ import annotations

import subprocess
import sys


def test_the_limit_of_address_space_does_not_reduce_the_workers() -> None:
    """``ulimit -v`` applies to each process: it says nothing about how many processes may run."""
    code = (
        "from queuectl_nb.engine.bootstrap import _count_startable_threads;"
        "import resource, threading; resource.setrlimit(resource.RLIMIT_AS, (300_000_000,) * 2);"
        "print(_count_startable_threads(200), threading.stack_size())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "200 0\n"
