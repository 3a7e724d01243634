"""The route of the feed: server-sent events, as fast as the client reads."""

from __future__ import annotations

import json
import socket
from contextlib import aclosing
from http import HTTPStatus

from tornado.iostream import StreamClosedError
from tornado.web import authenticated

from queuectl_nb.web.base_handler import JSON, JsonHandler
from queuectl_nb.web.event_feed import Full, Listener

__all__ = ["Events"]

RETRY_MS = 2000
"""How soon a browser that lost the feed asks again."""
SEND_BUFFER = 64 * 1024
"""Bytes of the feed that the system keeps for a slow client: old news are of no use to it."""


class Events(JsonHandler):
    """``/api/events``: server-sent events."""

    @authenticated
    async def get(self) -> None:
        """Send the queue at a glance, now and whenever it changed, as fast as the client reads."""
        self.asked()
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # proxies of nginx's kind would wait for more
        if self.request.method == "HEAD":
            self.finish()
            return
        self._listener = Listener()
        try:
            async with aclosing(self.site.feed.events(self._listener)) as events:
                self._small_buffer()
                self.write(f"retry: {RETRY_MS}\n\n")
                async for event in events:
                    self.write(event)
                    await self.flush()
        except Full:
            self._send_away()
        except StreamClosedError:
            return
        else:
            self.finish()

    head = get

    def _send_away(self) -> None:
        """Tell who is one too many to poll."""
        self.clear()
        self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
        self.set_header("Retry-After", "30")
        self.set_header("Content-Type", JSON)
        self.finish(json.dumps({"error": "too many listen; ask /api/overview now and then instead"}))

    def on_connection_close(self) -> None:
        """Stop sending to who has gone."""
        if hasattr(self, "_listener"):
            self._listener.leave()

    def _small_buffer(self) -> None:
        stream = getattr(self.request.connection, "stream", None)
        if stream is not None and stream.socket is not None:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
