"""JupyterLab as its user has it: a server of its own, and notebooks open in pages of a real browser."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from playwright.sync_api import expect

from tests.web.jupyter import JupyterProcess

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

HERE = Path(__file__).parent
PATIENCE = 120_000
"""Milliseconds that a page may take for anything, on a busy machine."""
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
FLAGS = (
    "--LabApp.expose_app_in_browser=True",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
READY = (HERE / "ready.js").read_text("utf-8")
DONE = (HERE / "done.js").read_text("utf-8")
ERRORS = (HERE / "errors.js").read_text("utf-8")


class LabServer(JupyterProcess):
    """A JupyterLab that asks nobody for news; its notebooks' queue is ``queue``."""

    def __init__(self, home: Path, *flags: str) -> None:
        """Start it, with more ``flags``, and wait until it answers."""
        self.queue = home / "queue.db"
        quiet = home / "settings" / "@jupyterlab" / "apputils-extension"
        quiet.mkdir(parents=True)
        (quiet / "notification.jupyterlab-settings").write_text(
            '{"fetchNews": "false", "checkForUpdates": false}', "utf-8"
        )
        super().__init__(
            "jupyterlab",
            home,
            *FLAGS,
            *flags,
            JUPYTERLAB_SETTINGS_DIR=str(home / "settings"),
            JUPYTERLAB_WORKSPACES_DIR=str(home / "workspaces"),
            QUEUECTL_DB=str(self.queue),
        )


@dataclass
class Notebook:
    """A notebook open in a page."""

    page: Page
    server: LabServer
    pictures: Path

    @classmethod
    def open(cls, page: Page, server: LabServer, source: Path | list[str], pictures: Path, name: str = "") -> Notebook:
        """Open a copy of a notebook file, or one with these cells, and wait until its kernel is ready."""
        name = name or f"{secrets.token_hex(4)}.ipynb"
        (server.root / name).write_text(_text(source), "utf-8")
        found = cls(page, server, pictures)
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page.goto(f"{server.url}doc/tree/{quote(name)}?token={server.token}&reset")
        found.ready()
        return found

    def ready(self) -> None:
        """Wait until cells can be run; earlier a dialog would open and nothing run."""
        self.page.wait_for_function(READY)

    def command(self, name: str, **arguments: Any) -> None:
        """Carry out one of JupyterLab's commands and wait for its end."""
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)",
                           [name, arguments])  # fmt: skip

    def run_all(self) -> None:
        """Run all cells to the end; a cell that fails, fails the test."""
        self.command("notebook:run-all-cells")
        assert self.errors() == []

    def start_all(self) -> None:
        """Begin to run all cells, and return at once."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")

    def done(self) -> None:
        """Wait until no cell is running or waiting any more."""
        self.page.wait_for_function(DONE)

    def errors(self) -> list[str]:
        """Return what went wrong in cells."""
        found: list[str] = self.page.evaluate(ERRORS)
        return found

    def theme(self, scheme: str) -> None:
        """Change to the light or the dark theme."""
        self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        self.command("apputils:change-theme", theme=THEMES[scheme])
        light = "true" if scheme == "light" else "false"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")

    def reload(self) -> None:
        """Save the notebook and load the page anew; the kernel goes on."""
        self.command("docmanager:save")
        self.page.reload()
        self.ready()

    def picture(self, name: str, part: Locator | None = None) -> Path:
        """Keep a screenshot, of the page or of a part of it."""
        path = self.pictures / f"{name}.png"
        (part or self.page).screenshot(path=path, animations="disabled")
        return path


def _text(source: Path | list[str]) -> str:
    if isinstance(source, Path):
        return source.read_text("utf-8")
    cells = [
        {"cell_type": "code", "id": f"c{at}", "metadata": {}, "execution_count": None, "outputs": [], "source": each}
        for at, each in enumerate(source)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
