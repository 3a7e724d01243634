"""Build the site, and parse its pages and links."""

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
"""Attributes whose targets a browser loads by itself."""
IGNORED_RELS = {"prev", "next", "index", "search", "canonical"}


def build(folder: Path) -> str:
    """Build the site with warnings as errors; return what Sphinx printed."""
    paths = ["-c", "docs", ".", str(folder / "html"), "-d", str(folder / "doctrees")]
    options = ["-W", "--keep-going", "-n", "-q", "-j", "2"]
    closed_port = "http://127.0.0.1:9"  # makes network access fail
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *paths, *options],
        env={**os.environ, "http_proxy": closed_port, "https_proxy": closed_port, "no_proxy": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    return str(done.stderr)


class Link(NamedTuple):
    """A link of a page: element and address."""

    tag: str
    address: str


class Page(HTMLParser):
    """One page: its links, anchors, images and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[Link] = []
        self.anchors: set[str] = set()
        self.pieces: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the link and the anchor of a tag."""
        attributes = dict(attrs)
        self.anchors.update(name for name in (attributes.get("id"), attributes.get("name")) if name)
        if tag == "img":
            self.images.append(attributes)
        for key in ("href", "src"):
            address = attributes.get(key)
            if address and not (tag == "link" and attributes.get("rel") in IGNORED_RELS):
                self.links.append(Link(tag, address))

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.pieces.append(data)

    @cached_property
    def text(self) -> str:
        """The whole text with normalized whitespace."""
        return " ".join(" ".join(self.pieces).split())

    @staticmethod
    def is_external(address: str) -> bool:
        """Return True if an address is on another server."""
        parts = urlsplit(address)
        return bool(parts.scheme and parts.scheme not in ("file", "data")) or bool(parts.netloc)

    def internal_links(self) -> list[tuple[str, Path, str]]:
        """Return links within the site: address, target file and anchor."""
        found = []
        for link in self.links:
            if self.is_external(link.address) or link.address.startswith("data:"):
                continue
            address, anchor = urldefrag(link.address)
            address = unquote(urlsplit(address).path)
            target = self.path if not address else (self.path.parent / address).resolve()
            found.append((link.address, target, unquote(anchor)))
        return found
