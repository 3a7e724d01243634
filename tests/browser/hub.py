"""A JupyterHub with its proxy on loopback: users without passwords or system accounts, files below one folder."""

from __future__ import annotations

import json
import random
import secrets
import shutil
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.browser.lab import extensions_of_checkout
from tests.web.jupyter import end_process, start_module, wait_for_start

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["Hub", "missing_hub"]

CONFIG = Path(__file__).with_name("jupyterhub_config.py")


def missing_hub() -> str | None:
    """Return why no hub can be started here; None if one can."""
    if find_spec("jupyterhub") is None:
        return "no JupyterHub here: install the extra test"
    if shutil.which("configurable-http-proxy") is None:
        return "no proxy for JupyterHub here: npm install --global configurable-http-proxy"
    return None


class Hub:
    """``jupyterhub`` at ``url``; each user has the home directory ``homes / NAME`` and the queue ``queue.db`` there.

    ``token`` gives access to the hub's API and to all servers.
    """

    def __init__(self, home: Path) -> None:
        """Start the hub and wait until it answers."""
        self.homes = home / "homes"
        self.homes.mkdir()
        self.log = home / "hub.log"
        self.token = secrets.token_hex(16)
        # below the ports that the system assigns, at an address that no other program uses
        address = ".".join(["127", *(str(random.randrange(1, 255)) for _ in range(3))])
        ports = random.sample(range(10_000, 30_000), 3)
        proxy, hub, api = (f"http://{address}:{port}" for port in ports)
        self.url = f"{proxy}/"
        given = {
            "proxy": proxy,
            "hub": hub,
            "api": api,
            "homes": str(self.homes),
            "token": self.token,
            "environment": extensions_of_checkout(home / "extensions"),
        }
        variables = {"HUB_TEST": json.dumps(given), "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16)}
        self.process = start_module(["jupyterhub", "--config", str(CONFIG)], home, self.log, variables)
        wait_for_start(self.process, self._answers, 180, self.log)

    def _answers(self) -> bool:
        assert self.process.poll() is None
        with suppress(URLError, ConnectionError):
            self.api("GET", "")
            return True
        return False

    def api(self, method: str, path: str) -> Any:
        """Send a request of an administrator to the hub's API; return the JSON answer."""
        request = Request(f"{self.url}hub/api/{path}", method=method, headers={"Authorization": f"token {self.token}"})
        with urlopen(request, timeout=200) as answer:
            return json.loads(answer.read() or "null")

    def status_of(self, path: str, **headers: str) -> int:
        """Return the HTTP status of a request without cookies."""
        try:
            with urlopen(Request(self.url + path, headers=headers), timeout=200) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    def start(self, user: str) -> None:
        """Start the server of a user and wait until it is ready."""
        with suppress(HTTPError):  # the user exists
            self.api("POST", f"users/{user}")
        self.api("POST", f"users/{user}/server")

    def stop(self, user: str) -> None:
        """Stop the server of a user, as the hub does with idle ones, and wait until it has ended."""
        self.api("DELETE", f"users/{user}/server")

    def log_in(self, page: Page, user: str) -> None:
        """Log a browser in as this user."""
        page.goto(f"{self.url}hub/login")
        page.fill("#username_input", user)
        page.fill("#password_input", "any")
        page.click("#login_submit")
        page.wait_for_url(lambda url: "/hub/login" not in url)

    def close(self) -> None:
        """Stop the hub with its proxy and all servers."""
        end_process(self.process)
