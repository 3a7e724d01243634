"""Handwritten documentation agrees with the code: events, environment variables, topics, paths."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import queuectl_nb
from docs.generate.pages import ROOT
from docs.generate.shapes import EVENTS
from queuectl_nb.commands import help as help_command

PACKAGE = Path(queuectl_nb.__file__).parent


def emitted_events() -> dict[str, set[str]]:
    """Return the events that the engine emits, with their fields."""
    found: dict[str, set[str]] = {}
    for path in (PACKAGE / "engine").rglob("*.py"):
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit"):
                continue
            if isinstance(node.args[0], ast.Constant):
                name = str(node.args[0].value)
                found.setdefault(name, set()).update(keyword.arg or "" for keyword in node.keywords)
        for name in re.findall(r'\{"event": "(\w+)", "count"', source):
            found.setdefault(name, set()).add("count")
        for text in re.findall(r'\{\{"event":"\w+".*?\}\}\'', source, re.DOTALL):
            _, *fields = re.findall(r'"(\w+)"(?=:)|"event":"(\w+)"', text)
            kind = re.search(r'"event":"(\w+)"', text)
            assert kind is not None
            found.setdefault(kind[1], set()).update(key for key, _ in fields if key)
    return found


def test_every_event_is_documented() -> None:
    """The engine emits exactly the documented events with the documented fields."""
    documented = {name: {field.name for field in fields} for name, (_, fields) in EVENTS.items()}
    assert emitted_events() == documented


def test_every_variable_is_documented() -> None:
    """The topic ``environment`` lists exactly the variables that the code uses."""
    known = set()
    for path in PACKAGE.rglob("*.py"):
        known |= set(re.findall(r"\b_?QUEUECTL_[A-Z_]*[A-Z]\b", path.read_text("utf-8")))
    documented = set(re.findall(r"\b_?QUEUECTL_[A-Z_]*[A-Z]\b", help_command.topic_text("environment")))
    assert known == documented


def test_references_to_topics_are_valid() -> None:
    """Every `queuectl help X` in the documentation names an existing topic or command."""
    for path in [*help_command.FOLDER.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        for word in re.findall(r"queuectl help ([a-z-]+)", path.read_text("utf-8")):
            assert word in help_command.ABOUT.words, (path, word)


def test_links_work_on_a_code_host() -> None:
    """Every relative link leads to a file of the repository."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    broken = []
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)]+)\)", text):
            path = target.partition("#")[0]
            if path and "://" not in path and not (page.parent / path).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken, broken


def test_named_files_exist() -> None:
    """Every script, test or module named on a page is a file of the repository."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    named = re.compile(r"\b(?:benchmarks|tests|docs|queuectl_nb)/[\w/.-]*\w")
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in pages
        for path in named.findall(page.read_text("utf-8"))
        if not (ROOT / path).exists() and not path.startswith("docs/_build")
    ]
    assert not missing, missing
