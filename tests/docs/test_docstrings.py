"""What docstrings show is true, and what modules say that they offer is there."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import queuectl_nb

MODULES = ["queuectl_nb", *(each.name for each in pkgutil.walk_packages(queuectl_nb.__path__, "queuectl_nb."))]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_keeps_its_word(name: str) -> None:
    """Every example in its docstrings gives what it says, and each name in ``__all__`` exists."""
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module)
    assert not failed
    assert [each for each in getattr(module, "__all__", ()) if not hasattr(module, each)] == []
