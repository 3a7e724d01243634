"""Chromium for the tests, with a profile of its own."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

__all__ = ["WINDOW", "find_chromium", "launched"]

FLAGS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
WINDOW = {"width": 1180, "height": 980}


def find_chromium() -> str | None:
    """Return the path in ``QUEUECTL_CHROMIUM``, or the system's Chromium."""
    named = os.environ.get("QUEUECTL_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def launched(path: str, profile: str) -> Iterator[Browser]:
    """Run the browser at ``path`` for the block, with its files in the folder ``profile``."""
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), profile)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=[*FLAGS, f"--crash-dumps-dir={profile}"], env={**os.environ, **homes}
        )
        yield started
        started.close()
