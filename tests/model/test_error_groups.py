"""Groups of failures: what counts as the same, and what does not."""

from __future__ import annotations

import time

import pytest

from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.error_groups import REASONS, ErrorGroup, group_of
from queuectl_nb.model.failure import describe, read_message
from queuectl_nb.model.outcome import (
    Cancelled,
    Copied,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    Raised,
    Returned,
    Signalled,
    SignalledWorker,
    TimedOut,
)


def traceback(error: str, *frames: tuple[str, str]) -> str:
    """Return a traceback as Python prints it, the outermost frame first."""
    lines = "".join(f'  File "{file}", line {len(file)}, in {function}\n    x()\n' for file, function in frames)
    return f"Traceback (most recent call last):\n{lines}{error}\n"


def group(outcome: Outcome, stderr: str = "", stdout: str = "") -> ErrorGroup | None:
    """Return the group of an attempt that ended like this."""
    message = read_message(outcome, Ending(0.0, stdout=stdout, stderr=stderr))
    return group_of(outcome, message, describe(outcome, message) or "")


FAILED = Exited(1)
OWN = ("/home/ann/train.py", "fit")
OTHER = ("/home/ann/train.py", "load")
LIBRARY = ("/usr/lib/python3.11/json/decoder.py", "decode")
PACKAGE = ("/opt/venv/lib/python3.13/site-packages/torch/nn.py", "forward")


@pytest.mark.parametrize(
    ("outcome", "stderr", "reason"),
    [
        (FAILED, "", "exit"),
        (FAILED, "no such file\n", "exit"),
        (FAILED, traceback("ValueError: bad rate", OWN), "exception"),
        (FAILED, traceback("MemoryError", OWN), "oom"),
        (FAILED, traceback("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB", OWN), "oom"),
        (FAILED, traceback("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", OWN), "gpu_oom"),
        (FAILED, traceback("RuntimeError: CUDA error: out of memory", OWN), "gpu_oom"),
        (FAILED, "CUDA error: out of memory\n", "gpu_oom"),
        (Signalled(11), "Segmentation fault\n", "signal"),
        (SignalledWorker(9), "", "signal"),
        (TimedOut(30.0), traceback("ValueError: an earlier one", OWN), "timeout"),
        (Lost("worker-1"), "", "lost"),
        (Copied(), "", "lost"),
        (NotStarted("no directory /data"), "", "not_started"),
        (Raised("ValueError: bad rate"), traceback("ValueError: bad rate", OWN), "exception"),
        (Raised("MemoryError"), "", "oom"),
        (Raised("exit code 3", 3), "", "exit"),
        (Raised("exit code 1: no file", 1), "no file\n", "exit"),
        (Raised("ended without a value", 0), "", "exit"),
    ],
)
def test_reasons(outcome: Outcome, stderr: str, reason: str) -> None:
    """Each kind of failure has its reason, and a key of eight characters."""
    found = group(outcome, stderr)
    assert found is not None
    assert (found.reason, len(found.key)) == (reason, 8)
    assert found.reason in REASONS


@pytest.mark.parametrize("outcome", [Exited(0), Cancelled(), Returned()])
def test_no_failure(outcome: Outcome) -> None:
    """What succeeded, was cancelled or returned has no group."""
    assert group(outcome, traceback("ValueError: logged only", OWN)) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cannot read /data/7.csv", "cannot read ~/other/8.csv"),
        ("cannot read 'C:\\data\\7.csv'", "cannot read 'D:\\8.csv'"),
        ("loss is nan at step 1200", "loss is nan at step 7"),
        ("lr=0.1 diverged", "lr=1e-05 diverged"),
        ("job 3f9a2bc71d failed", "job 0c1d2e3f4a failed"),
        ("run 123e4567-e89b-12d3-a456-426614174000 failed", "run 00000000-e89b-12d3-a456-426614174abc failed"),
        ("invalid pointer 0x7ffee3c0", "invalid pointer 0x1"),
        ("cannot reach https://a.example/1", "cannot reach https://b.example/2?x=3"),
        ("host 10.0.0.3:8080 refused", "host 10.0.0.12:9090 refused"),
        (traceback("ValueError: bad rate 0.1", OWN), traceback("ValueError: bad rate 7", OWN)),
        (traceback("ValueError: x", OWN, LIBRARY), traceback("ValueError: x", ("/mnt/copy/train.py", "fit"), PACKAGE)),
        (traceback("ValueError: x", ("Cell In[2]", "fit")), traceback("ValueError: x", ("Cell In[17]", "fit"))),
        (
            traceback("ValueError: x", ("Cell In[2]", "fit")),
            traceback("ValueError: x", ("/tmp/ipykernel_71/1234.py", "fit")),
        ),
    ],
)
def test_same_group(first: str, second: str) -> None:
    """Numbers, also of cells, ids, paths, addresses, directories and frames of libraries make no difference."""
    assert group(FAILED, first) == group(FAILED, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((FAILED, "no such file\n"), (FAILED, "permission denied\n")),
        ((FAILED, "x\n"), (Exited(2), "x\n")),
        ((FAILED, traceback("ValueError: x", OWN)), (FAILED, traceback("KeyError: x", OWN))),
        ((FAILED, traceback("ValueError: x", OWN)), (FAILED, traceback("ValueError: x", OTHER))),
        ((FAILED, traceback("ValueError: x", ("1.py", "fit"))), (FAILED, traceback("ValueError: x", ("2.py", "fit")))),
        ((FAILED, traceback("ValueError: x", OWN)), (FAILED, "ValueError: x\n")),
        ((Signalled(11), ""), (Signalled(6), "")),
        ((Raised("exit code 3", 3), ""), (Raised("exit code 4", 4), "")),
        ((Lost("worker-1"), ""), (Lost("worker-1", "froze"), "")),
    ],
)
def test_different_groups(first: tuple[Outcome, str], second: tuple[Outcome, str]) -> None:
    """Another message, exit code, signal, exception, or place in the user's own code is another group."""
    assert group(*first) != group(*second)


def test_exit_of_a_python_job() -> None:
    """What varies in the message of an exit makes no difference; its code does, and a value that is missing."""
    first, other = Raised("exit code 2: cannot read 7.csv", 2), Raised("exit code 3: cannot read 7.csv", 3)
    assert group(first) == group(Raised("exit code 2: cannot read 8.csv", 2))
    assert len({group(each) for each in (first, other, Raised("ended without a value"))}) == 3


def test_names_that_are_not_utf_8() -> None:
    """A name with bytes that are not UTF-8 is a message as any other."""
    assert group(NotStarted("no folder b\udcff")) == group(NotStarted("no folder b\udcff"))
    assert group(NotStarted("no folder b\udcff")) != group(NotStarted("no file b\udcff"))


def test_cost_of_a_hostile_message() -> None:
    """A long message of one kind of character costs no more than reading it a few times."""
    for text in ("/" * 8000, "1" * 8000, "a1" * 4000, "-" * 8000, "0x" * 4000, "://" * 2600, " |" * 4000):
        began = time.process_time()
        group(FAILED, text)
        group(FAILED, traceback(text, OWN))
        assert time.process_time() - began < 1.0
