"""A JupyterLab server, and notebooks open in a browser."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from playwright.sync_api import Error, expect

from queuectl_nb.render.js_bundle import FRONTEND
from tests.web.jupyter import JupyterProcess

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

HERE = Path(__file__).parent
PAGE_TIMEOUT_MS = 120_000
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
FLAGS = (
    "--LabApp.expose_app_in_browser=True",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LanguageServerManager.autodetect=False",  # two pages of a notebook: a dialog about basedpyright covers them
    "--LabApp.extension_manager=readonly",
)
READY = (HERE / "ready.js").read_text("utf-8")
DONE = (HERE / "done.js").read_text("utf-8")
ERRORS = (HERE / "errors.js").read_text("utf-8")


class LabServer(JupyterProcess):
    """A JupyterLab without news and update checks; its notebooks use the queue file ``queue``."""

    def __init__(self, home: Path, *flags: str) -> None:
        """Start the server and wait until it answers."""
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
            **extensions_of_checkout(home / "extensions"),
        )


def extensions_of_checkout(folder: Path) -> dict[str, str]:
    """Return variables with which Jupyter loads the extensions of this checkout; what is installed is a copy."""
    extension = folder / "labextensions/queuectl-nb"
    if not extension.exists():  # a server that is started again in the same folder finds it
        extension.parent.mkdir(parents=True)
        extension.symlink_to(FRONTEND / "labextension")
    return {"JUPYTER_PATH": str(folder), "JUPYTER_CONFIG_PATH": str(FRONTEND.parents[1] / "jupyter-config")}


@dataclass
class Notebook:
    """A notebook open in a page."""

    page: Page
    server: LabServer
    pictures: Path

    @classmethod
    def open(cls, page: Page, server: LabServer, source: Path | list[str], pictures: Path, name: str = "") -> Notebook:
        """Open a copy of a notebook file, or a notebook with these cells, and wait for its kernel."""
        name = name or f"{secrets.token_hex(4)}.ipynb"
        (server.root / name).write_text(_text(source), "utf-8")
        found = cls(page, server, pictures)
        page.set_default_timeout(PAGE_TIMEOUT_MS)
        expect.set_options(timeout=PAGE_TIMEOUT_MS)
        page.goto(f"{server.url}doc/tree/{quote(name)}?token={server.token}&reset")
        found.ready()
        return found

    def ready(self) -> None:
        """Wait until cells can be run; before that, JupyterLab would open a dialog."""
        self.page.wait_for_function(READY)

    def command(self, name: str, **arguments: Any) -> None:
        """Run a JupyterLab command and wait for it."""
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)",
                           [name, arguments])  # fmt: skip

    def run_all(self) -> None:
        """Run all cells; fail if a cell fails."""
        self.command("notebook:run-all-cells")
        assert self.errors() == []

    def start_all(self) -> None:
        """Start to run all cells."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")

    def done(self) -> None:
        """Wait until all cells have run."""
        self.page.wait_for_function(DONE)

    def errors(self) -> list[str]:
        """Return the errors of cells."""
        found: list[str] = self.page.evaluate(ERRORS)
        return found

    def theme(self, scheme: str) -> None:
        """Switch to the light or the dark theme."""
        self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        self.command("apputils:change-theme", theme=THEMES[scheme])
        light = "true" if scheme == "light" else "false"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")

    def reload(self) -> None:
        """Save the notebook and reload the page; the kernel keeps running."""
        self.command("docmanager:save")
        self.page.reload()
        self.ready()

    def picture(self, name: str, part: Locator | None = None) -> Path:
        """Save a screenshot of the page or of a part."""
        path = self.pictures / f"{name}.png"
        while True:
            try:
                (part or self.page).screenshot(path=path, animations="disabled")
            except Error as error:
                if "not attached" not in error.message:  # an update has replaced the card meanwhile
                    raise
            else:
                return path


def _text(source: Path | list[str]) -> str:
    if isinstance(source, Path):
        return source.read_text("utf-8")
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{at}", "metadata": {}, "execution_count": None, "outputs": [], "source": each}
        for at, each in enumerate(source)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
