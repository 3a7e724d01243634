"""What is written by hand agrees with the code where it can be told: events, variables, topics."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import queuectl_nb
from docs.generate.pages import ROOT
from docs.generate.shapes import EVENTS
from queuectl_nb.commands import help as help_command

PACKAGE = Path(queuectl_nb.__file__).parent


def told() -> dict[str, set[str]]:
    """Return the events that the engine tells, with the facts of each call."""
    found: dict[str, set[str]] = {}
    for path in (PACKAGE / "engine").rglob("*.py"):
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)):
            tells = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit"
            if tells and isinstance(node.args[0], ast.Constant):  # what a pool tells a worker's process is a variable
                name = str(node.args[0].value)
                found.setdefault(name, set()).update(keyword.arg or "" for keyword in node.keywords)
        for name in re.findall(r'\{"event": "(\w+)", "count"', source):
            found.setdefault(name, set()).add("count")
        for text in re.findall(r'\{\{"event":"\w+".*?\}\}\'', source, re.DOTALL):
            name, *facts = re.findall(r'"(\w+)"(?=:)|"event":"(\w+)"', text)
            kind = re.search(r'"event":"(\w+)"', text)
            assert kind is not None
            found.setdefault(kind[1], set()).update(key for key, _ in facts if key)
    return found


def test_every_event_is_documented() -> None:
    """The engine tells the documented events and no others, each with the documented facts."""
    documented = {name: {fact.name for fact in facts} for name, (_, facts) in EVENTS.items()}
    assert told() == documented


def test_every_variable_is_documented() -> None:
    """Each environment variable of ours that the code knows is in the topic about them, and no other."""
    known = set()
    for path in PACKAGE.rglob("*.py"):
        known |= set(re.findall(r"\b_?QUEUECTL_[A-Z_]*[A-Z]\b", path.read_text("utf-8")))
    documented = set(re.findall(r"\b_?QUEUECTL_[A-Z_]*[A-Z]\b", help_command.topic_text("environment")))
    assert known == documented


def test_a_topic_names_topics_that_are_there() -> None:
    """Where a text says `queuectl help X`, that can be asked."""
    for path in [*help_command.FOLDER.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        for word in re.findall(r"queuectl help ([a-z-]+)", path.read_text("utf-8")):
            assert word in help_command.TOPIC_NAMES, (path, word)


def test_pages_link_by_paths_that_a_code_host_follows() -> None:
    """Each relative link of a page names a file of the repository, so that the pages read well without the site."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    broken = []
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)]+)\)", text):
            path = target.partition("#")[0]
            if path and "://" not in path and not (page.parent / path).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken, broken


def test_files_that_pages_name_are_there() -> None:
    """A script, test or module that a page names in code is a file of the repository."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    named = re.compile(r"\b(?:benchmarks|tests|docs|queuectl_nb)/[\w/.-]*\w")
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in pages
        for path in named.findall(page.read_text("utf-8"))
        if not (ROOT / path).exists() and not path.startswith("docs/_build")
    ]
    assert not missing, missing
