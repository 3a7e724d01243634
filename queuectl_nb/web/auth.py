"""The door of our own server: which Host and Origin may ask, and who has the token. Decides, and answers nothing."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Auth", "host_name", "own_origin", "own_page"]

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - told apart, not bound
PASS_LASTS = 60.0
"""Seconds within which a browser that we open must come."""
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?\Z")
_BEARER = re.compile(r"bearer\s+(\S+)\s*\Z", re.IGNORECASE)


def host_name(header: str) -> str | None:
    """Return the name or address in a Host header, in lower case, without its port; None for what is no host.

    >>> host_name("LOCALHOST:8642"), host_name("[::1]:8642"), host_name("a@localhost")
    ('localhost', '::1', None)
    """
    found = _HOST.match(header)
    return (found["six"] or found["name"]).lower() if found else None


def own_origin(origin: str | None, host: str) -> bool:
    """Tell whether a request comes from a page of this very host and port, or from no page at all."""
    return origin is None or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def own_page(headers: Mapping[str, str], host: str) -> bool:
    """Tell whether a request comes from our own page, from no page, or from a person who follows a link.

    Behind a proxy the Host may be another than the page's: then the browser's own word counts (``Sec-Fetch-Site``), or
    the proxy's (``X-Forwarded-Host``). No page can make a browser send either to another site.
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site == "cross-site" and headers.get("Sec-Fetch-Mode") != "navigate":
        return False
    return site == "same-origin" or any(
        own_origin(origin, name) for name in (host, headers.get("X-Forwarded-Host", host))
    )


@dataclass
class Auth:
    """The token, and the address that the server listens at.

    A browser gets a cookie made from the token, not the token, so that the one does not give away the other.
    """

    token: str
    address: str = "127.0.0.1"
    port: int = 0
    passes: dict[str, float] = field(default_factory=dict)
    """Words that are taken once in the token's place, with the moment until which they are."""

    def one_time_token(self) -> str:
        """Return a word that logs in one browser, soon: all on the machine can see the line that starts it."""
        word = secrets.token_urlsafe(32)
        self.passes[word] = time.monotonic() + PASS_LASTS
        return word

    @property
    def cookie_name(self) -> str:
        """The cookie's name; with the port, because cookies know none."""
        return f"queuectl-{self.port}"

    @property
    def cookie_value(self) -> str:
        """What a browser shows instead of the token."""
        return hmac.new(self.token.encode(), b"queuectl web cookie", hashlib.sha256).hexdigest()

    def takes_host(self, header: str) -> bool:
        """Tell whether a request may name this host.

        A page of somebody else's can lead a name of theirs to our address (DNS rebinding), but no address: so a
        server that listens everywhere takes any address, and of names its own.
        """
        name = host_name(header)
        if name is None:
            return False
        if name in LOCAL or name == self.address.lower():
            return True
        return self.address in ANY and (_is_address(name) or name in _own_names())

    def knows(self, authorization: str, given: str | None, cookie: str | None) -> bool:
        """Tell whether one of the three proves the token: the Authorization header, the query, the cookie."""
        bearer = _BEARER.match(authorization)
        return (
            (bearer is not None and _same(bearer[1], self.token))
            or (given is not None and (_same(given, self.token) or self.passes.pop(given, 0) > time.monotonic()))
            or (cookie is not None and _same(cookie, self.cookie_value))
        )


def _same(given: str, right: str) -> bool:
    """Compare in a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), right.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> set[str]:
    return {socket.gethostname().lower(), socket.getfqdn().lower()}
