"""Authentication of the stand-alone server: Host and Origin checks, the stored token, one-time tokens, the cookie."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakSet

from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tornado.iostream import IOStream

__all__ = ["Auth", "host_name", "is_own_origin", "is_own_page", "load_token"]

TOKEN_FILE = "web.token"  # noqa: S105 - a file name
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
ONE_TIME_TOKEN_TTL_S = 60.0
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?\Z")
_BEARER = re.compile(r"bearer\s+(\S+)\s*\Z", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}\Z")  # 32 random bytes


def host_name(header: str) -> str | None:
    """Return the name or address in a Host header, lower case, without the port; None if the header is malformed.

    >>> host_name("LOCALHOST:8642"), host_name("[::1]:8642"), host_name("a@localhost")
    ('localhost', '::1', None)
    """
    found = _HOST.match(header)
    return (found["six"] or found["name"]).lower() if found else None


def is_own_origin(origin: str | None, host: str) -> bool:
    """Return True if the Origin header is absent or names this host and port."""
    return origin is None or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def is_own_page(headers: Mapping[str, str], host: str) -> bool:
    """Return True if a request comes from our own page, from no page, or from a followed link.

    Behind a proxy the Host header may differ from the host of the page. Then ``Sec-Fetch-Site`` (set by the browser)
    or ``X-Forwarded-Host`` (set by the proxy) decides. A foreign page cannot make a browser forge either.
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site == "cross-site" and headers.get("Sec-Fetch-Mode") != "navigate":
        return False
    return site == "same-origin" or any(
        is_own_origin(origin, name) for name in (host, headers.get("X-Forwarded-Host", host))
    )


@dataclass
class Auth:
    """The token, the address that the server listens on, and the cookie of browsers.

    Browsers send a cookie to every port of a host. So it is limited to a path that nobody else knows, and works only
    until this server ends.
    """

    token: str
    address: str = "127.0.0.1"
    port: int = 0
    one_time_tokens: dict[str, float] = field(default_factory=dict)
    """Expiry (monotonic clock) by token."""
    cookie_path: str = field(default_factory=lambda: "/" + secrets.token_urlsafe(16))
    """The path below which browsers use the page; all routes are also served without it."""
    cookie_value: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    connections: WeakSet[IOStream] = field(default_factory=WeakSet)
    """Connections that have sent the token or the cookie."""

    def one_time_token(self) -> str:
        """Create a token that works once: the command line of a browser is visible to all users of the machine."""
        now = time.monotonic()
        self.one_time_tokens = {token: expires for token, expires in self.one_time_tokens.items() if expires > now}
        token = secrets.token_urlsafe(32)
        self.one_time_tokens[token] = now + ONE_TIME_TOKEN_TTL_S
        return token

    @property
    def cookie_name(self) -> str:
        """Name of the cookie; includes the port because browsers share cookies between ports."""
        return f"queuectl-{self.port}"

    def allows_host(self, header: str) -> bool:
        """Return True if a request with this Host header is served.

        DNS rebinding can point a foreign name at our address but cannot forge an address. So a server bound to all
        interfaces accepts any address, but only its own names.
        """
        name = host_name(header)
        if name is None:
            return False
        if name in LOCAL_HOSTS or name == self.address.lower():
            return True
        own_names = {socket.gethostname().lower(), socket.getfqdn().lower()}
        return self.address in ANY_ADDRESS and (_is_address(name) or name in own_names)

    def accepts(self, authorization: str, query_token: str | None, cookie: str | None) -> bool:
        """Return True if the Authorization header, the query token or the cookie is valid."""
        bearer = _BEARER.match(authorization)
        return (
            (bearer is not None and _equal(bearer[1], self.token))
            or (
                query_token is not None
                and (_equal(query_token, self.token) or self.one_time_tokens.pop(query_token, 0) > time.monotonic())
            )
            or (cookie is not None and _equal(cookie, self.cookie_value))
        )


def _equal(given: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def load_token(folder: Path) -> str:
    """Return the token stored in ``folder`` (private to the user); create one if there is no safe one.

    A link, a folder, a file of another user or one that others can read is replaced, never followed.
    """
    path = folder / TOKEN_FILE
    stored = _read_token(path)
    if stored is not None:
        return stored
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
    token = secrets.token_urlsafe(32)
    new = folder / f"{TOKEN_FILE}.{secrets.token_hex(8)}"
    with open(open_regular(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY), "w", encoding="ascii") as file:
        file.write(token)
    new.replace(path)
    return _read_token(path) or token  # if two servers start at once, the last one wins


def _read_token(path: Path) -> str | None:
    try:
        with open(open_regular(path, os.O_RDONLY), encoding="ascii", errors="replace") as file:
            info = os.fstat(file.fileno())
            text = file.read(100)
    except OSError:
        return None
    is_private = info.st_uid == os.geteuid() and not info.st_mode & 0o077
    return text if is_private and _TOKEN.match(text) else None
