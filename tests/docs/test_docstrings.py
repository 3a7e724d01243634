"""Examples in docstrings are correct, and ``__all__`` lists existing names."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import queuectl_nb
from docs.generate.pages import ROOT

MODULES = ["queuectl_nb", *(each.name for each in pkgutil.walk_packages(queuectl_nb.__path__, "queuectl_nb."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_and_exported_names(name: str) -> None:
    """Every doctest passes, and every name in ``__all__`` exists."""
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module)
    assert not failed
    assert [each for each in getattr(module, "__all__", ()) if not hasattr(module, each)] == []


def test_sources_refer_to_nothing_that_readers_lack() -> None:
    """No source mentions documents or numbered requirements that are not in the repository."""
    private = re.compile(r"(?i:\bthe contract\b|\bcontract's\b|\bthe seed's\b)|§|(?:\"\"\"|\()P\d+\b|\bissue \d")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("queuectl_nb", "tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if path != Path(__file__) and private.search(line)
    ]
    assert found == []
