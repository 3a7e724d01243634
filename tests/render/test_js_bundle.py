"""The front end's modules: separate files on the web page, one text in a widget."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.render.js_bundle import SHARED, bundle

if TYPE_CHECKING:
    from pathlib import Path

MODULES = sorted(SHARED.glob("*.js"))


def top_level_names(text: str) -> list[str]:
    """Return the top-level names of a module."""
    return re.findall(r"^(?:export )?(?:async )?(?:function|class|const|let|var) (\w+)", text, re.MULTILINE)


def test_top_level_names_are_unique() -> None:
    """Top-level names are distinct over all modules, so that they can be concatenated."""
    names = Counter(name for module in MODULES for name in top_level_names(module.read_text("utf-8")))
    assert {name: times for name, times in names.items() if times > 1} == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_bundle_is_complete(module: Path) -> None:
    """A bundle declares every imported name once, and contains no import."""
    text = bundle(module)
    assert not re.search(r"^import ", text, re.MULTILINE)
    wanted = {
        name.strip()
        for each in MODULES
        if f"\n{each.read_text('utf-8')[:40]}" in f"\n{text}"
        for group in re.findall(r"^import \{([^}]*)\}", each.read_text("utf-8"), re.MULTILINE)
        for name in group.split(",")
    }
    declared = Counter(top_level_names(text))
    assert {name: declared[name] for name in wanted} == dict.fromkeys(wanted, 1)


def test_missing_module_is_an_error(tmp_path: Path) -> None:
    """The error names the missing module."""
    entry = tmp_path / "a.js"
    entry.write_text('import { b } from "./nowhere.js";\n', "utf-8")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bundle(entry)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_modules_do_not_create_markup(module: Path) -> None:
    """No module creates elements from text."""
    source = module.read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", source)
