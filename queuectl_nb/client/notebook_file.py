"""Reads a notebook file at the enqueue: its cells, its kernel, and the parameters that it has.

Loads neither papermill nor nbformat unless the file is of an old format, because that takes as long as a short job.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.errors import BadEnvironment, BadInput
from queuectl_nb.model.validation import parse_choice, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TAG", "Notebook", "read_notebook"]

MAX_FILE_BYTES = 256 * 1024 * 1024
TAG = "parameters"
"""Tag of the cell that assigns the default values of parameters."""
_MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"^([^\W\d]\w*)[ \t]*(?::[^=\n]+)?=(?!=)", re.MULTILINE)


class Notebook(NamedTuple):
    """A notebook as it was when it was read, without the outputs of its cells.

    ``parameters`` are the names that its parameters cell assigns; None if it has no such cell.
    """

    folder: str
    name: str
    body: bytes
    kernel: str
    kernel_dir: str
    language: str
    parameters: frozenset[str] | None

    @property
    def is_python(self) -> bool:
        """Whether the parameters are Python, so that the names in the cell are known."""
        return self.language.lower() == "python"


def read_notebook(path: str | os.PathLike[str], kernel: str | None = None) -> Notebook:
    """Read a notebook file; ``kernel`` replaces the kernel that it names.

    Raises
    ------
    BadInput
        The file cannot be read or is not a notebook, or there is no such kernel; the message lists the valid ones.
    BadEnvironment
        papermill is not installed.
    """
    if importlib.util.find_spec("papermill") is None:
        remedy = f"{sys.executable} -m pip install 'queuectl-nb[notebook]'"
        raise BadEnvironment(f"notebooks need papermill, which is not installed here; install it: {remedy}")
    if not isinstance(path, str | os.PathLike):
        raise BadInput(f"a notebook is given by its path, not as {quoted(path)}")
    file = os.path.abspath(os.path.expanduser(os.fspath(path)))
    folder, name = os.path.split(file)
    content = _parse(name, _read(file))
    metadata = content["metadata"] if isinstance(content.get("metadata"), dict) else {}
    spec = metadata.get("kernelspec")
    own = spec.get("name") if isinstance(spec, dict) else None
    chosen, kernel_dir, language = _find_kernel(name, kernel, own)
    cells = [
        {**cell, "outputs": [], "execution_count": None} if cell["cell_type"] == "code" else cell
        for cell in content["cells"]
    ]
    content = {**content, "metadata": {key: metadata[key] for key in metadata if key != "widgets"}, "cells": cells}
    body = json.dumps(content, separators=(",", ":")).encode()
    return Notebook(folder, name, body, chosen, kernel_dir, language, _declared(cells))


def _read(path: str) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise BadInput(f"{quoted(path)} is not a file")
            if found.st_size > MAX_FILE_BYTES:
                raise BadInput(f"{quoted(path)} has {found.st_size:,} bytes; {MAX_FILE_BYTES:,} at most")
            return file.read()
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {quoted(path)}: {getattr(error, 'strerror', None) or error}") from None


def _parse(name: str, body: bytes) -> dict[str, Any]:
    """Return the content of a notebook in format 4."""
    try:
        content = json.loads(body)
        if isinstance(content, dict) and content.get("nbformat") in (1, 2, 3):
            import nbformat

            content = json.loads(nbformat.writes(nbformat.reads(body.decode(), as_version=4)))
    except Exception as error:  # noqa: BLE001 - whatever nbformat raises for an old notebook
        raise BadInput(f"{quoted(name)} is not a notebook: {' '.join(str(error).split())}") from None
    problem = _find_problem(content)
    if problem:
        raise BadInput(f"{quoted(name)} is not a notebook: {problem}")
    return content  # type: ignore[no-any-return]


def _find_problem(content: Any) -> str:
    """Return why this is not a notebook in format 4; empty if it is one."""
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        return "it has no cells"
    if content.get("nbformat") != 4:
        return f"nbformat {quoted(content.get('nbformat'))} is not supported"
    for number, cell in enumerate(content["cells"], 1):
        if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
            return f"cell {number} has no cell_type"
        source = cell.get("source")
        if not isinstance(source, str) and not (
            isinstance(source, list) and all(isinstance(line, str) for line in source)
        ):
            return f"cell {number} has no source"
    return ""


def _find_kernel(name: str, kernel: str | None, own: str | None) -> tuple[str, str, str]:
    """Return the name of the kernel, the directory that it was found in, and its language."""
    from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager

    manager = KernelSpecManager()
    found = manager.find_kernel_specs()
    chosen = kernel or own or NATIVE_KERNEL_NAME
    if chosen not in found:
        what, hint = ("kernel", "") if kernel else (f"the kernel of {name},", "; give another kernel")
        try:
            parse_choice(what, chosen, sorted(found))
        except BadInput as error:
            raise BadInput(f"{error}{hint}") from None
    return chosen, os.path.dirname(found[chosen]), manager.get_kernel_spec(chosen).language


def _declared(cells: Iterable[dict[str, Any]]) -> frozenset[str] | None:
    """Return the names that the parameters cell assigns; None without such a cell."""
    for cell in cells:
        metadata = cell.get("metadata")
        tags = metadata.get("tags") if isinstance(metadata, dict) else None
        if isinstance(tags, list) and TAG in tags:
            source = cell["source"]
            return _assigned_names(source if isinstance(source, str) else "".join(source))
    return None


def _assigned_names(source: str) -> frozenset[str]:
    """Return the names that Python code assigns; papermill finds only those on lines with a single ``=``."""
    try:
        tree = ast.parse(_MAGIC.sub(r"\1pass", source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset(_ASSIGNMENT.findall(source))
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return frozenset(node.id for node in names)
