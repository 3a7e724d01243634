"""The built site as a reader meets it: pages, what they link to, and where those links lead."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cached_property
from html.parser import HTMLParser
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urldefrag, urlsplit

from docs.generate.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Link", "Page", "build"]

LOADS = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}
"""What a browser fetches by itself."""
IGNORED_RELS = {"prev", "next", "index", "search", "canonical"}


def build(folder: Path) -> str:
    """Build the site with every warning an error; return what Sphinx said besides."""
    words = ["-c", "docs", ".", folder / "html", "-d", folder / "doctrees", "-W", "--keep-going", "-n", "-q", "-j", "2"]
    nowhere = "http://127.0.0.1:9"  # nobody listens there: what asks the network fails
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words],
        env={**os.environ, "http_proxy": nowhere, "https_proxy": nowhere, "no_proxy": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    return done.stderr


class Link(NamedTuple):
    """A reference in a page: the element, and the address as it stands there."""

    tag: str
    address: str


class Page(HTMLParser):
    """One page: its links, the names of its places, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[Link] = []
        self.names: set[str] = set()
        self.pieces: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to, and what it is called."""
        facts = dict(attrs)
        self.names.update(name for name in (facts.get("id"), facts.get("name")) if name)
        if tag == "img":
            self.images.append(facts)
        for key in ("href", "src"):
            address = facts.get(key)
            if address and not (tag == "link" and facts.get("rel") in IGNORED_RELS):
                self.links.append(Link(tag, address))

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.pieces.append(data)

    @cached_property
    def text(self) -> str:
        """All text, blanks made one."""
        return " ".join(" ".join(self.pieces).split())

    @staticmethod
    def is_outside(address: str) -> bool:
        """Tell whether an address leads to another server."""
        parts = urlsplit(address)
        return bool(parts.scheme and parts.scheme not in ("file", "data")) or bool(parts.netloc)

    def inside(self) -> list[tuple[str, Path, str]]:
        """Return the links inside the site: as written, the file that they name, and the place in it."""
        found = []
        for link in self.links:
            if self.is_outside(link.address) or link.address.startswith("data:"):
                continue
            address, place = urldefrag(link.address)
            address = unquote(urlsplit(address).path)
            target = self.path if not address else (self.path.parent / address).resolve()
            found.append((link.address, target, unquote(place)))
        return found
