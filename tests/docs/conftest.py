"""Fixtures with the built site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.built_site import Page, build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site once and return its folder. The executed notebooks are next to it."""
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder / "html"


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Page]:
    """Return the pages by path."""
    found = (path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts)
    return {str(path.relative_to(site)): Page(path) for path in found}
