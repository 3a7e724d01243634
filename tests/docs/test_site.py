"""The site builds without network access and warnings; its links work, and it documents every public name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unittest.mock import ANY

import pytest

import queuectl_nb
from docs.generate import cli
from docs.generate.cli import walk
from docs.generate.pages import ROOT
from docs.generate.python import CLASSES, members
from docs.generate.shapes import EVENTS
from queuectl_nb.model import errors
from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.model.settings import SETTINGS
from queuectl_nb.model.state import State
from tests.docs.built_site import LOADS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.docs.built_site import Page

pytestmark = pytest.mark.timeout(900)  # the build runs every notebook


def test_internal_links_work(site: Path, pages: dict[str, Page]) -> None:
    """Every link within the site leads to an existing file and anchor."""
    by_path = {page.path.resolve(): page for page in pages.values()}
    broken = []
    for name, page in pages.items():
        for address, target, anchor in page.internal_links():
            if not target.is_file() or not target.is_relative_to(site.resolve()):
                broken.append(f"{name}: {address} leads to no file")
            elif anchor and target in by_path and anchor not in by_path[target].anchors:
                broken.append(f"{name}: {address} leads to no anchor")
    assert not broken, "\n".join(broken)


def test_nothing_is_loaded_from_other_servers(pages: dict[str, Page]) -> None:
    """All scripts, styles and images are part of the site."""
    loaded = {tag for tag, _ in LOADS}
    external = [
        (name, link)
        for name, page in pages.items()
        for link in page.links
        if link.tag in loaded and page.is_external(link.address)
    ]
    assert external == []


def test_every_page_can_be_reached(site: Path, pages: dict[str, Page]) -> None:
    """All pages can be reached by links from the home page, and the root address redirects there."""
    assert "docs/README.html" in (site / "index.html").read_text("utf-8")
    found, queue = set(), [(site / "docs/README.html").resolve()]
    by_path = {page.path.resolve(): page for page in pages.values()}
    while queue:
        path = queue.pop()
        if path in by_path and path not in found:
            found.add(path)
            queue += [target for _, target, _ in by_path[path].internal_links()]
    unreachable = {name for name, page in pages.items() if page.path.resolve() not in found}
    assert unreachable <= {"index.html", "search.html"}, unreachable


def test_the_home_page_leads_on(pages: dict[str, Page]) -> None:
    """The home page has a picture for each colour scheme, says how to install, and has cards that are links."""
    page = pages["docs/README.html"]
    classes = [image.get("class") or "" for image in page.images]
    assert [[name for name in classes if scheme in name] for scheme in ("only-light", "only-dark")] == [[ANY], [ANY]]
    assert "pip install ." in page.text
    assert page.path.read_text("utf-8").count("sd-stretched-link") >= 6


def test_every_source_is_in_the_site(pages: dict[str, Page]) -> None:
    """Every Markdown file in docs/ and every notebook is a page of the site."""
    sources = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    names = {str(path.relative_to(ROOT).with_suffix(".html")) for path in sources if "_build" not in path.parts}
    assert names <= set(pages), names - set(pages)


def test_images_have_alternative_texts(pages: dict[str, Page]) -> None:
    """Every image has an alternative text."""
    missing = [
        (name, image.get("src"))
        for name, page in pages.items()
        for image in page.images
        if not image.get("alt") or (image["alt"] or "").endswith(".png")
    ]
    assert missing == []


def test_notebooks_show_output(pages: dict[str, Page]) -> None:
    """Notebooks are shown with the output of their cells."""
    names = [name for name in pages if name.startswith("notebooks/")]
    assert names
    for name in names:
        assert "cell_output" in pages[name].path.read_text("utf-8"), name


def test_every_command_and_option_is_documented(pages: dict[str, Page]) -> None:
    """Every command has a section with all its options on the page of its group; the overview has the common ones."""
    overview = pages["docs/reference/cli.html"].text
    for command, context in walk():
        if context.parent is None:
            text = overview
        else:
            address, _, anchor = cli.link(context).partition("(")[2].rstrip(")").partition("#")
            page = pages[f"docs/reference/{address.removesuffix('.md')}.html"]
            assert anchor in page.anchors
            text = page.text
        shown = [param for param in command.params if not getattr(param, "hidden", False)]
        for option in (option for param in shown for option in param.opts):
            if option.startswith("--"):
                assert option in (overview if option in cli.COMMON_OPTIONS else text), (context.command_path, option)


def test_every_setting_state_outcome_event_and_error_is_documented(pages: dict[str, Page]) -> None:
    """Every one is on its reference page."""
    expected: dict[str, Iterable[str]] = {
        "settings": SETTINGS,
        "states": State,
        "fields": OUTCOME_NAMES,
        "events": EVENTS,
        "exit-codes": errors.__all__,
    }
    for page, names in expected.items():
        words = set(re.findall(r"[\w-]+", pages[f"docs/reference/{page}.html"].text))
        assert {str(name) for name in names} <= words, page


def test_every_public_name_is_documented(pages: dict[str, Page]) -> None:
    """The API reference contains every public name and every public method."""
    api = pages["docs/reference/api.html"]
    for name in queuectl_nb.__all__:
        assert f"queuectl_nb.{name}" in api.anchors, name
        assert name in pages["docs/reference/python.html"].text
    for kind in CLASSES:
        for name, _ in members(kind):
            assert any(anchor.endswith(f".{name}") for anchor in api.anchors), (kind, name)
