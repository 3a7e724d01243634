"""What an estimate of the time left depends on: earlier attempts, running and waiting jobs, and workers.

Jobs count as the same work if they run the same program or function, whatever its values are.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.call import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.retry import RetryPolicy

__all__ = ["MIN_PROGRESS", "Ended", "RunningJob", "WaitingJob", "Workload", "find_numbers", "work_names"]

MIN_PROGRESS = 0.03
"""Smaller reported progress is ignored: it says too little about the rest of a run."""
MAX_COMMAND_CHARS = 300
_PROGRAM = re.compile(
    r"\s*(?:\w+=\S*\s+)*(?P<word>\S+)"
    r"(?: +(?:-m +\S+|\S+\.(?:py|sh|bash|R|r|jl|pl|rb|js|ipynb)(?![\w.])|[A-Za-z_][A-Za-z_-]*(?=\s|$)))?"
)
"""The first word of a command, and the next if it is a script or may be a subcommand."""
_RUNS_ANYTHING = re.compile(
    r"(?:.*/)?(?:python|pypy|bash|sh|zsh|env|conda|uv|poetry|srun|mpirun|nice|time|cd|export|set|source|Rscript|julia"
    r"|node|perl|ruby|make|jupyter|papermill)[\d.]*$"
)
"""Programs that say nothing about the work."""
_VALUE = re.compile(r"""'[^']*'|"[^"]*"|[^\s=]*[\d/][^\s]*""")
"""Words that differ between jobs of the same template: quoted ones, and those with numbers or paths."""
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d+)?(?:[eE][-+]?\d\d?)?(?![\w])")


class Ended(NamedTuple):
    """A finished attempt: its run time, whether it failed, and whether it was the first one of its job."""

    seconds: float
    failed: bool = False
    first: bool = True
    before: float | None = None
    """The run time of the attempt before it."""
    numbers: tuple[float, ...] = ()
    """Numbers in the command or call: :mod:`.parameters` finds how the run time depends on them."""


class RunningJob(NamedTuple):
    """A running attempt; ``worker`` is an index into the workers, None if that takes no further jobs."""

    work: str
    elapsed_s: float
    worker: int | None
    queue: str = "default"
    progress: float | None = None
    timeout_s: float | None = None
    attempts_left: int = 0
    """Attempts after this one."""
    first: bool = True
    before: float | None = None
    """The run time of the attempt before it, as in the following classes."""
    selected: bool = True
    id: str = ""
    numbers: tuple[float, ...] = ()
    factor: float = 1.0
    """How much longer than others it runs."""


class WaitingJob(NamedTuple):
    """A waiting job that represents ``weight`` jobs."""

    work: str
    order: tuple[float, float]
    """Jobs start in ascending order."""
    queue: str = "default"
    weight: float = 1
    due_s: float = 0
    attempts_left: int = 1
    before: float | None = None
    selected: bool = True
    id: str = ""
    after: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    factor: float = 1.0


class Workload(NamedTuple):
    """Everything that the estimate depends on; every work in ``history`` has at least one attempt."""

    history: Mapping[str, Sequence[Ended]]
    running: Sequence[RunningJob]
    waiting: Sequence[WaitingJob]
    workers: Sequence[frozenset[str]]
    """The queues of each worker; empty for all."""
    limits: Mapping[str, int]
    policy: RetryPolicy


@lru_cache(maxsize=4096)
def work_names(kind: str, command: str) -> tuple[str, ...]:
    """Return what a job runs, from the command without its values to the program or function alone.

    >>> work_names("command", "python train.py --lr 0.1 --out '/tmp/a'")
    ('python train.py --lr # --out #', 'python train.py')
    >>> work_names("command", "sleep 3")
    ('sleep #', 'sleep')
    >>> work_names("function", "train(0.1, epochs=3)")
    ('train()',)
    """
    command = command[:MAX_COMMAND_CHARS]
    if kind in (Kind.FUNCTION, Kind.NOTEBOOK):
        return (f"{command.partition('(')[0]}()",)
    found = _PROGRAM.match(command)
    if kind == Kind.CELL or found is None:
        return (command,)
    names = [found[0] + _VALUE.sub("#", command[found.end() :]), found[0]]
    if not _RUNS_ANYTHING.match(found["word"]):
        names.append(found["word"])
    return tuple(dict.fromkeys(names))


@lru_cache(maxsize=4096)
def find_numbers(command: str) -> tuple[float, ...]:
    """Return the numbers in a command or call.

    >>> find_numbers("train.py --lr 1e-3 --size 20 --model resnet50")
    (0.001, 20.0)
    >>> find_numbers("train('b2', rate=-0.5)")
    (-0.5,)
    """
    return tuple(map(float, _NUMBER.findall(command[:MAX_COMMAND_CHARS])))
