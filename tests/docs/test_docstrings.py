"""Examples in docstrings are correct, and ``__all__`` lists existing names."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import queuectl_nb

MODULES = ["queuectl_nb", *(each.name for each in pkgutil.walk_packages(queuectl_nb.__path__, "queuectl_nb."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_and_exported_names(name: str) -> None:
    """Every doctest passes, and every name in ``__all__`` exists."""
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module)
    assert not failed
    assert [each for each in getattr(module, "__all__", ()) if not hasattr(module, each)] == []
