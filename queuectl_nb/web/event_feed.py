"""The event feed: polls the queue once for all clients and gives each client the latest state only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from tornado.log import app_log

from queuectl_nb.model.errors import Busy, QueuectlError
from queuectl_nb.render.formats import json_text

__all__ = ["EventFeed", "Subscriber"]

POLL_INTERVAL_S = 0.25
INTERVAL_PER_CLIENT_S = 0.005
"""Added to the interval for each client, which bounds the CPU that many clients use."""
HEARTBEAT_S = 15.0
"""A heartbeat is sent after this long without another event: proxies close silent connections, or keep dead ones."""
MAX_CLIENTS = 500
HEARTBEAT = b"event: heartbeat\ndata: {}\n\n"


class Subscriber:
    """One client of the feed."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.closed = False

    def close(self) -> None:
        """End the iteration of :meth:`EventFeed.events`."""
        self.closed = True
        self.wake.set()


class EventFeed:
    """Polls the queue while there are subscribers; runs on one event loop.

    Events do not pile up for a slow subscriber: it receives the latest state when it reads again.
    """

    def __init__(self, read_overview: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._read_overview = read_overview
        self._latest: bytes | None = None
        self._latest_state: dict[str, Any] | None = None
        self._notified_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._subscribers: set[Subscriber] = set()

    @property
    def clients(self) -> int:
        """Number of subscribers."""
        return len(self._subscribers)

    async def events(self, subscriber: Subscriber) -> AsyncGenerator[bytes]:
        """Yield the current state, then each change or heartbeat, until the subscriber is closed.

        Raises :class:`Busy` if there are too many subscribers.
        """
        if self.clients >= MAX_CLIENTS:
            raise Busy("the event feed has too many clients; poll /api/overview instead")
        self._subscribers.add(subscriber)
        try:
            if self._task is None or self._task.done():
                self._latest = self._latest_state = None  # outdated: nobody polled meanwhile
                self._task = asyncio.create_task(self._poll())
            sent = None
            while not subscriber.closed:
                if self._latest == sent:
                    subscriber.wake.clear()
                    await subscriber.wake.wait()
                event = self._latest
                if not subscriber.closed:
                    yield HEARTBEAT if event is None or event == sent else event
                sent = event
        finally:
            self._subscribers.discard(subscriber)
            if not self._subscribers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _poll(self) -> None:
        """Poll the queue; wake the subscribers at each change and when a heartbeat is due."""
        while True:
            state, event = await self._read_event()
            changed = state != self._latest_state
            if changed:
                self._latest_state, self._latest = state, event
            now = time.monotonic()
            if changed or now - self._notified_at > HEARTBEAT_S:
                self._notified_at = now
                for subscriber in self._subscribers:
                    subscriber.wake.set()
            await asyncio.sleep(POLL_INTERVAL_S + INTERVAL_PER_CLIENT_S * self.clients)

    async def _read_event(self) -> tuple[dict[str, Any], bytes]:
        """Return the state to compare with the previous one, and its event."""
        try:
            overview = await self._read_overview()
        except QueuectlError as error:
            text = str(error)
        except Exception:  # noqa: BLE001 - one failed read must not end the feed for all
            app_log.exception("queuectl: reading the queue failed")
            text = "the server could not read the queue; see its log"
        else:
            revision, removed = overview["version"]
            event = f"id: {revision}-{removed}\nevent: overview\ndata: {json_text(overview)}\n\n"
            return overview | {"at": None, "eta_s": None}, event.encode()
        trouble = {"error": text}
        return trouble, f"event: trouble\ndata: {json_text(trouble)}\n\n".encode()

    def close(self) -> None:
        """Disconnect all subscribers."""
        for subscriber in self._subscribers:
            subscriber.close()
        if self._task is not None:
            with suppress(RuntimeError):  # the loop may be closed
                self._task.cancel()
            self._task = None
