"""A bench with real pools for what is told and answered; the site, built once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.site import Page, build
from tests.engine.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuectl_nb.queue import Queue


@pytest.fixture
def bench(queue: Queue) -> Iterator[Bench]:
    """Return a bench with a fresh queue; whatever was started there is ended."""
    found = Bench(queue)
    yield found
    found.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site once, all notebooks run; return its folder. Beside it lie the notebooks with what came."""
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder / "html"


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Page]:
    """Return the pages by their path in the site."""
    found = (path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts)
    return {str(path.relative_to(site)): Page(path) for path in found}
