"""The dependencies in pyproject.toml: what is imported is declared, and bounds are honest."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOLDERS = {"queuectl_nb", "tests", "docs", "benchmarks"}
LOADED_BY = {"jupyter_server", "pytest"}
"""Packages that load a module of ours when they are there, so that the module needs no dependency on them."""
RECORDING = {"sklearn"}
"""What ``tests/model/record_sweeps.py`` runs once; the tests need only its recording."""


def imported_by(folder: str) -> set[str]:
    """Return the top-level names of other packages that the modules of a folder import."""
    names = set()
    paths = [path for path in (ROOT / folder).rglob("*.py") if "_build" not in path.parts]
    own = FOLDERS | {path.stem for path in paths if path.parent == ROOT / folder}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module or "")
    return {name.partition(".")[0] for name in names} - own - sys.stdlib_module_names


def names_of(*groups: list[str]) -> set[str]:
    """Return the normalized names of requirements."""
    return {re.split(r"[<>=!~;\[ ]", each)[0].lower().replace("_", "-") for group in groups for each in group}


@pytest.mark.parametrize(
    ("folder", "declared", "exceptions"),
    [
        (
            "queuectl_nb",
            names_of(PROJECT["dependencies"], EXTRAS["dask"], EXTRAS["joblib"], EXTRAS["notebook"], EXTRAS["plot"]),
            LOADED_BY,
        ),
        ("tests", names_of(PROJECT["dependencies"], EXTRAS["test"], EXTRAS["docs"], EXTRAS["mutation"]), RECORDING),
        ("docs", names_of(PROJECT["dependencies"], EXTRAS["docs"]), set()),
        ("benchmarks", names_of(PROJECT["dependencies"], EXTRAS["test"], EXTRAS["benchmark"]), set()),
    ],
)
def test_what_is_imported_is_declared(folder: str, declared: set[str], exceptions: set[str]) -> None:
    """A package that is only installed because another one needs it may be gone with that one's next version."""
    distributions = packages_distributions()
    missing = [
        name
        for name in imported_by(folder) - exceptions
        if not {each.lower().replace("_", "-") for each in distributions.get(name, [name])} & declared
    ]
    assert missing == []


def test_every_bound_says_why() -> None:
    """Every dependency has a lower bound; an upper bound has its reason on the same line."""
    for group in (PROJECT["dependencies"], *EXTRAS.values()):
        for requirement in group:
            assert ">=" in requirement, requirement
            if "<" in requirement:
                (line,) = (line for line in PYPROJECT.splitlines() if f'"{requirement}"' in line)
                assert "#" in line, requirement
