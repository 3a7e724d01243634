"""Fixtures: a browser and a JupyterLab server.

Screenshots go to ``$QUEUECTL_ARTIFACTS`` (``artifacts/`` at the top of the repository when it is not set).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import WINDOW, find_chromium, launched
from tests.browser.lab import LabServer, Notebook
from tests.browser.page_reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from tests.web.server import WebServer

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give browser tests a longer timeout, since starting browser and server takes time on a busy machine."""
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Return the browser's path; without a browser the test is skipped, but fails in CI."""
    found = find_chromium()
    if found is None:
        why = "no Chromium here: install the package chromium, or name one in QUEUECTL_CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Return the folder for screenshots."""
    path = Path(os.environ.get("QUEUECTL_ARTIFACTS") or ROOT / "artifacts").absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def queue_path(queue_path: Path, tmp_path: Path) -> Path:
    """Return the path of a fresh queue, as the page shows it in screenshots."""
    folder = tmp_path / "projects" / "experiments" / "learning-rates"
    folder.mkdir(parents=True)
    return queue_path.rename(folder / queue_path.name)


@pytest.fixture
def browser(chromium_path: str, tmp_path: Path) -> Iterator[Browser]:
    """Return a browser with its own profile for this test."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as profile, launched(chromium_path, profile) as started:
        yield started


@pytest.fixture(scope="module")
def shared_browser(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return one browser for all tests of a file."""
    with launched(chromium_path, str(tmp_path_factory.mktemp("browser"))) as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Page:
    """Return a page in a new profile."""
    return browser.new_context(viewport=WINDOW, reduced_motion="reduce").new_page()  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def lab(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """Return a JupyterLab that all tests share; each opens its own notebooks and kernels."""
    server = LabServer(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.fixture
def notebook(page: Page, lab: LabServer, pictures: Path) -> Callable[..., Notebook]:
    """Return a function that opens a notebook from a file or from the sources of its cells."""

    def open_notebook(source: Path | list[str], name: str = "") -> Notebook:
        return Notebook.open(page, lab, source, pictures, name)

    return open_notebook


@pytest.fixture
def reader(shared_browser: Browser, server: WebServer) -> Iterator[Reader]:
    """Return a reader of the web page; at the end the page must have logged no error."""
    context = shared_browser.new_context(viewport=WINDOW, reduced_motion="reduce")  # type: ignore[arg-type]
    found = Reader(context, server)
    yield found
    context.close()
    assert found.browser_errors == []
