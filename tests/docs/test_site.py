"""The site builds without a network and without a warning; every link leads somewhere; nothing comes from outside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import queuectl_nb
from docs.generate.cli import walk
from docs.generate.pages import ROOT
from docs.generate.python import CLASSES, members
from docs.generate.shapes import EVENTS
from queuectl_nb.model import errors
from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.model.settings import SETTINGS
from queuectl_nb.model.state import State
from tests.docs.site import LOADS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.site import Page

pytestmark = pytest.mark.timeout(900)  # it runs every notebook


def test_every_link_leads_somewhere(site: Path, pages: dict[str, Page]) -> None:
    """A link inside the site names a file of it, and a place that is there."""
    by_path = {page.path.resolve(): page for page in pages.values()}
    broken = []
    for name, page in pages.items():
        for address, target, place in page.inside():
            if not target.is_file() or not target.is_relative_to(site.resolve()):
                broken.append(f"{name}: {address} leads nowhere")
            elif place and target in by_path and place not in by_path[target].names:
                broken.append(f"{name}: {address} names no place there")
    assert not broken, "\n".join(broken)


def test_nothing_is_loaded_from_outside(pages: dict[str, Page]) -> None:
    """Scripts, styles and pictures all lie in the site: it can be read without a network."""
    loaded = {tag for tag, _ in LOADS}
    outside = [
        (name, link)
        for name, page in pages.items()
        for link in page.links
        if link.tag in loaded and page.is_outside(link.address)
    ]
    assert outside == []


def test_every_page_can_be_reached(site: Path, pages: dict[str, Page]) -> None:
    """From the front page links lead to every other one; the address of the site itself leads to the front page."""
    assert "docs/README.html" in (site / "index.html").read_text("utf-8")
    found, ahead = set(), [(site / "docs/README.html").resolve()]
    by_path = {page.path.resolve(): page for page in pages.values()}
    while ahead:
        path = ahead.pop()
        if path in by_path and path not in found:
            found.add(path)
            ahead += [target for _, target, _ in by_path[path].inside()]
    left = {name for name, page in pages.items() if page.path.resolve() not in found}
    assert left <= {"index.html", "search.html"}, left


def test_every_source_is_in_the_site(pages: dict[str, Page]) -> None:
    """Each page under docs/ and each notebook became a page."""
    sources = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    names = {str(path.relative_to(ROOT).with_suffix(".html")) for path in sources if "_build" not in path.parts}
    assert names <= set(pages), names - set(pages)


def test_pictures_have_words(pages: dict[str, Page]) -> None:
    """Each picture says in words what it shows, for who cannot see it."""
    silent = [
        (name, image.get("src"))
        for name, page in pages.items()
        for image in page.images
        if not image.get("alt") or (image["alt"] or "").endswith(".png")
    ]
    assert silent == []


def test_notebooks_were_run(pages: dict[str, Page]) -> None:
    """Notebooks are shown with what their cells gave."""
    names = [name for name in pages if name.startswith("notebooks/")]
    assert names
    for name in names:
        assert "cell_output" in pages[name].path.read_text("utf-8"), name


def test_every_command_and_option_is_documented(pages: dict[str, Page]) -> None:
    """The reference has each command by its full name, with each of its options."""
    text = pages["docs/reference/cli.html"].text
    for command, context in walk():
        assert context.command_path in text
        for param in command.params:
            for option in param.opts:
                if option.startswith("--") and not getattr(param, "hidden", False):
                    assert option in text, (context.command_path, option)


def test_every_setting_state_outcome_event_and_error_is_documented(pages: dict[str, Page]) -> None:
    """Each is explained on its page."""
    for page, names in {
        "settings": SETTINGS,
        "states": State,
        "fields": OUTCOME_NAMES,
        "events": EVENTS,
        "exit-codes": errors.__all__,
    }.items():
        words = set(re.findall(r"[\w-]+", pages[f"docs/reference/{page}.html"].text))
        assert {str(name) for name in names} <= words, page


def test_every_public_name_is_documented(pages: dict[str, Page]) -> None:
    """Whatever can be imported, and every public method of what a user holds, has its place in the reference."""
    api = pages["docs/reference/api.html"]
    for name in queuectl_nb.__all__:
        assert f"queuectl_nb.{name}" in api.names, name
        assert name in pages["docs/reference/python.html"].text
    for kind in CLASSES:
        for name, _ in members(kind):
            assert any(place.endswith(f".{name}") for place in api.names), (kind, name)
