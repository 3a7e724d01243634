"""Commands that reach the limit of open files or file sizes: one line names the limit and the remedy."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Ran

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("limit", range(5, 10))
def test_too_low_limit(queue_path: Path, template_path: Path, limit: int) -> None:
    """Whichever file cannot be opened, the command works or fails with code 3 and one line that names the limit."""
    queue_path.write_bytes(template_path.read_bytes())
    words = [sys.executable, "-m", "queuectl_nb", "--db", str(queue_path), "enqueue", "--command", "true"]
    ran = subprocess.run(
        ["/bin/sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    if ran.returncode == 0:
        assert limit > 7
    else:
        assert ran.returncode == 3
        assert ran.stderr.endswith(f"too many open files: the limit is {limit}; raise it with 'ulimit -n'\n")
        assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EMFILE, f"the limit is {os.sysconf('SC_OPEN_MAX')}; raise it with 'ulimit -n'"),
        (errno.ENFILE, "raise the limit with 'sysctl fs.file-max'"),
    ],
)
def test_calls_without_a_file(number: int, text: str, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is about no file, as of a pipe, is not taken for one of writing the output."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("queuectl_nb.client.supervisor_process.os.pipe", fail)
    ran = run("worker", "start")
    assert ran.exit_code == 3
    assert ran.stderr.endswith(f"{text}\n")
    assert "output" not in ran.stderr


@pytest.mark.parametrize("words", [("enqueue", "--command", "true"), ("worker", "start", "--drain")])
def test_limit_of_file_sizes(queue_path: Path, template_path: Path, words: tuple[str, ...]) -> None:
    """Nothing is enqueued, and no worker starts that could not write."""
    queue_path.write_bytes(template_path.read_bytes())
    ran = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 64; exec "$@"', "sh", sys.executable, "-m", "queuectl_nb", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "QUEUECTL_DB": str(queue_path)},
        check=False,
    )
    assert ran.returncode == 3
    assert ran.stderr.endswith("files may not be larger than 32768 bytes; raise the limit with 'ulimit -f'\n")
    assert ran.stderr.count("\n") == 1
