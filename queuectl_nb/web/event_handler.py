"""The route of the event feed: server-sent events, sent as fast as the client reads."""

from __future__ import annotations

import json
import socket
from contextlib import aclosing
from http import HTTPStatus

from tornado.iostream import StreamClosedError
from tornado.web import authenticated

from queuectl_nb.web.base_handler import JSON, JsonHandler
from queuectl_nb.web.event_feed import FeedFull, Subscriber

__all__ = ["Events"]

RECONNECT_MS = 2000
"""Delay before a browser reconnects."""
SEND_BUFFER_BYTES = 64 * 1024
"""Kernel buffer per client; kept small because a slow client has no use for outdated events."""


class Events(JsonHandler):
    """``/api/events``: server-sent events."""

    @authenticated
    async def get(self) -> None:
        """Send the overview now and after each change."""
        self.parse_query()
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx would buffer the stream
        if self.request.method == "HEAD":
            self.finish()
            return
        self._subscriber = Subscriber()
        try:
            async with aclosing(self.reader.feed.events(self._subscriber)) as events:
                self._shrink_send_buffer()
                self.write(f"retry: {RECONNECT_MS}\n\n")
                async for event in events:
                    self.write(event)
                    await self.flush()
        except FeedFull:
            self._reject()
        except StreamClosedError:
            return
        else:
            self.finish()

    def _reject(self) -> None:
        """Respond 503 and name the route to poll instead."""
        self.clear()
        self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
        self.set_header("Retry-After", "30")
        self.set_header("Content-Type", JSON)
        self.finish(json.dumps({"error": "the event feed has too many clients; poll /api/overview instead"}))

    def on_connection_close(self) -> None:
        """Unsubscribe a client that disconnected."""
        if hasattr(self, "_subscriber"):
            self._subscriber.close()

    def _shrink_send_buffer(self) -> None:
        stream = getattr(self.request.connection, "stream", None)
        if stream is not None and stream.socket is not None:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
