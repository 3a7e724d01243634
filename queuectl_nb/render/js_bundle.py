"""Bundles the front end's ES modules: the web page loads them as files, a widget needs a single text."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["FRONTEND", "SHARED", "bundle", "read_styles"]

FRONTEND = Path(__file__).parents[1] / "frontend"
"""JavaScript, CSS and HTML."""
SHARED = FRONTEND / "shared"
"""Modules and styles of all live views."""

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<name>[a-z_]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)", re.MULTILINE)


def bundle(entry: Path) -> str:
    """Return ``entry`` and everything it imports as the source of one module.

    Modules are searched beside ``entry`` and in :data:`SHARED`. They contain only named imports
    (``import { a } from "./b.js";``) and their top-level names are distinct, so that concatenation is enough.

    Raises
    ------
    FileNotFoundError
        An imported module was not found.
    """
    parts: dict[str, str] = {}
    _collect(entry, entry.parent, parts)
    return "\n".join(text if name == entry.name else _EXPORT.sub("", text) for name, text in parts.items())


def _collect(module: Path, folder: Path, parts: dict[str, str]) -> None:
    """Add a module after the modules that it imports."""
    source = module.read_text("utf-8")
    for match in _IMPORT.finditer(source):
        name = match["name"]
        if name not in parts:
            path = folder / name
            _collect(path if path.exists() else SHARED / name, folder, parts)
    parts[module.name] = _IMPORT.sub("", source)


def read_styles(*names: str) -> str:
    """Return style sheets of :data:`SHARED`, concatenated."""
    return "\n".join((SHARED / name).read_text("utf-8") for name in names)
