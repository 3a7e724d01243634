"""Front-end modules: ES modules as files, which a web page serves as they are and a widget gets as one text."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["FRONTEND", "SHARED", "bundle", "read_styles"]

FRONTEND = Path(__file__).parents[1] / "frontend"
"""JavaScript, CSS and HTML, in one folder per view and ``shared``."""
SHARED = FRONTEND / "shared"
"""The modules and styles that all live views use."""

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<name>[a-z_]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)", re.MULTILINE)


def bundle(entry: Path) -> str:
    """Return ``entry`` and all that it imports as the text of one module; a widget's module cannot import its siblings.

    Modules are looked for beside ``entry`` and in :data:`SHARED`. They import names (``import { a } from "./b.js";``)
    and their top-level names are distinct over all modules, which makes putting them one after the other enough.

    Raises
    ------
    FileNotFoundError
        An imported module is in neither place.
    """
    parts: dict[str, str] = {}
    _collect(entry, entry.parent, parts)
    last = entry.name
    return "\n".join(text if name == last else _EXPORT.sub("", text) for name, text in parts.items())


def _collect(module: Path, beside: Path, parts: dict[str, str]) -> None:
    """Put a module's text after the texts of those that it imports."""
    source = module.read_text("utf-8")
    for found in _IMPORT.finditer(source):
        name = found["name"]
        if name not in parts:
            here = beside / name
            _collect(here if here.exists() else SHARED / name, beside, parts)
    parts[module.name] = _IMPORT.sub("", source)


def read_styles(*names: str) -> str:
    """Return style sheets of :data:`SHARED` as one text."""
    return "\n".join((SHARED / name).read_text("utf-8") for name in names)
