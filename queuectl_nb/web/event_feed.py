"""The feed of changes: one watcher a queue, however many pages look, and for each page the newest state only."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado.log import app_log

from queuectl_nb.model.errors import QueuectlError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["Event", "EventFeed", "Full", "Listener"]

PACE = 0.25
"""Seconds between two looks at the queue."""
SHARE = 0.005
"""Seconds added to the pace for each client, so that a crowd costs a bounded share of a core."""
KEEPALIVE = 15.0
"""Seconds after which a comment goes out where nothing else did: proxies cut silent connections."""
MOST = 500
"""Clients at once; more are sent away, and poll."""
COMMENT = b": still here\n\n"


class Full(Exception):
    """There are as many clients as the feed takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """The queue at a glance, ready for the wire; one object for all clients, by which they know what they have had."""

    wire: bytes


class Listener:
    """One client: a bell that rings when there is something to send, and whether the client has gone."""

    def __init__(self) -> None:
        self.bell = asyncio.Event()
        self.gone = False

    def leave(self) -> None:
        """Let :meth:`Feed.events` end."""
        self.gone = True
        self.bell.set()


def overview_event(overview: dict[str, Any]) -> bytes:
    """Return an overview as a server-sent event; its id is the queue's stamp, which a restart keeps."""
    rev, removed = overview["stamp"]
    return f"id: {rev}-{removed}\nevent: overview\ndata: {json.dumps(overview)}\n\n".encode()


def trouble_event(text: str) -> bytes:
    """Return an event that says why there is nothing to see; without an id."""
    return f"event: trouble\ndata: {json.dumps({'error': text})}\n\n".encode()


class EventFeed:
    """Looks at the queue while anybody listens, and gives every listener the newest event at its own speed.

    No events queue up for a listener: whoever is slow finds the newest when it comes back. All of it runs on one
    event loop.
    """

    def __init__(self, look: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        """Take the overview from ``look``."""
        self._look = look
        self._newest: Event | None = None
        self._facts: dict[str, Any] | None = None
        self._told = 0.0
        self._task: asyncio.Task[None] | None = None
        self._listeners: set[Listener] = set()

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._listeners)

    async def events(self, listener: Listener) -> AsyncGenerator[bytes]:
        """Yield the state of now, then each later one, or a comment where there was none for long, until it leaves.

        Raises :class:`Full` where there are too many listeners.
        """
        if self.clients >= MOST:
            raise Full
        self._listeners.add(listener)
        try:
            if self._task is None or self._task.done():
                self._newest = self._facts = None  # what a former listener saw is old
                self._task = asyncio.create_task(self._watch())
            seen: Event | None = None
            while not listener.gone:
                if self._newest is seen:
                    listener.bell.clear()
                    await listener.bell.wait()
                if listener.gone:
                    return
                wire = COMMENT if self._newest is seen or self._newest is None else self._newest.wire
                seen = self._newest
                yield wire
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _watch(self) -> None:
        """Look again and again; ring where there is news, or where nobody was told anything for long."""
        while True:
            facts, wire = await self._state()
            now = time.monotonic()
            if facts != self._facts:
                self._facts = facts
                self._newest = Event(wire())
                self._ring(now)
            elif now - self._told > KEEPALIVE:
                self._ring(now)
            await asyncio.sleep(PACE + SHARE * self.clients)

    async def _state(self) -> tuple[dict[str, Any], Callable[[], bytes]]:
        """Return what makes the state another one, and the function that makes its event."""
        try:
            overview = await self._look()
        except QueuectlError as error:
            text = str(error)
        except Exception:  # noqa: BLE001 - one bad look must not end the feed for all
            app_log.exception("queuectl: the queue could not be looked at")
            text = "the server could not look at the queue; its log says why"
        else:
            return {key: value for key, value in overview.items() if key != "at"}, lambda: overview_event(overview)
        return {"error": text}, lambda: trouble_event(text)

    def _ring(self, now: float) -> None:
        self._told = now
        for listener in self._listeners:
            listener.bell.set()

    def close(self) -> None:
        """Send every listener away."""
        for listener in self._listeners:
            listener.leave()
        if self._task is not None:
            with suppress(RuntimeError):  # its loop may be closed
                self._task.cancel()
            self._task = None
