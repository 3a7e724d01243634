"""The front end's modules: they stand as they are on a web page, and as one text in a widget."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.render.js_bundle import SHARED, bundle

if TYPE_CHECKING:
    from pathlib import Path

MODULES = sorted(SHARED.glob("*.js"))


def top_names(text: str) -> list[str]:
    """Return the names that a module declares at its top."""
    return re.findall(r"^(?:export )?(?:async )?(?:function|class|const|let|var) (\w+)", text, re.MULTILINE)


def test_no_name_stands_twice() -> None:
    """Names at the top of modules are distinct, so that the modules can stand in one text."""
    names = Counter(name for module in MODULES for name in top_names(module.read_text("utf-8")))
    assert {name: times for name, times in names.items() if times > 1} == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_bundle_is_whole(module: Path) -> None:
    """A bundle has every name that its modules import, once, and no import is left."""
    text = bundle(module)
    assert not re.search(r"^import ", text, re.MULTILINE)
    wanted = {
        name.strip()
        for each in MODULES
        if f"\n{each.read_text('utf-8')[:40]}" in f"\n{text}"
        for group in re.findall(r"^import \{([^}]*)\}", each.read_text("utf-8"), re.MULTILINE)
        for name in group.split(",")
    }
    declared = Counter(top_names(text))
    assert {name: declared[name] for name in wanted} == dict.fromkeys(wanted, 1)


def test_a_missing_module_is_told(tmp_path: Path) -> None:
    """An import of nothing is an error that names it."""
    entry = tmp_path / "a.js"
    entry.write_text('import { b } from "./nowhere.js";\n', "utf-8")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bundle(entry)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_nothing_becomes_markup(module: Path) -> None:
    """No module makes elements from text: what a job wrote stays text."""
    source = module.read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", source)
