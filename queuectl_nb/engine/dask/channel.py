"""Messages between an agent and its guard, two processes of one host and one Python, over a socket pair."""

from __future__ import annotations

import marshal
import socket
import threading
from typing import Any

__all__ = ["Channel", "Message"]

FORMAT = 2
"""Of :mod:`marshal`, as in the journal."""
_HEAD = 4
_PIECE = 256 * 1024
Message = dict[str, Any]


class Channel:
    """One end of the socket. Any thread may send; one at a time receives."""

    def __init__(self, end: socket.socket) -> None:
        """Talk over ``end``, which closes with this."""
        self.socket = end
        self._lock = threading.Lock()
        self._unsent = b""
        self._buffer = bytearray()

    def send(self, message: Message) -> None:
        """Send a message; raises OSError where nobody is at the other end."""
        with self._lock:
            self.socket.sendall(self._unsent + _whole(message))
            self._unsent = b""

    def offer(self, message: Message) -> bool:
        """Send a message unless the other end has stopped reading; tell whether it goes. Never waits.

        What did not fit between the two goes with the next message.
        """
        with self._lock:
            try:
                if self._unsent:
                    self._unsent = self._unsent[self.socket.send(self._unsent, socket.MSG_DONTWAIT) :]
                if self._unsent:
                    return False
                whole = _whole(message)
                self._unsent = whole[self.socket.send(whole, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                return False
            return True

    def receive(self) -> list[Message] | None:
        """Wait for the next messages and return them; None where the other end is closed."""
        while True:
            try:
                piece = self.socket.recv(_PIECE)
            except ConnectionError:
                return None
            if not piece:
                return None
            self._buffer += piece
            if found := self._come():
                return found

    def _come(self) -> list[Message]:
        """Take the whole messages out of the buffer."""
        found = []
        while len(self._buffer) >= _HEAD:
            end = _HEAD + int.from_bytes(self._buffer[:_HEAD], "little")
            if len(self._buffer) < end:
                break
            found.append(marshal.loads(bytes(self._buffer[_HEAD:end])))  # noqa: S302 - our own parent or child
            del self._buffer[:end]
        return found

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def _whole(message: Message) -> bytes:
    raw = marshal.dumps(message, FORMAT)
    return len(raw).to_bytes(_HEAD, "little") + raw
