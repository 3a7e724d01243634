"""What a job runs, apart from its values, and the numbers among these."""

from __future__ import annotations

import re
from functools import lru_cache

from queuectl_nb.model.call import Kind

__all__ = ["find_numbers", "work_names"]

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
