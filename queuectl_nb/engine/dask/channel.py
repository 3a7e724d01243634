"""Message channel between an agent and a runner: one socket pair, both ends on one host with the same Python."""

from __future__ import annotations

import contextlib
import marshal
import select
import socket
import threading
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask.messages import from_wire, to_wire

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Channel", "decode", "encode"]

HEADER_BYTES = 4
READ_BYTES = 256 * 1024
WAIT_INTERVAL_S = 1.0
"""How often ``on_wait`` is called."""
OFFER_TIMEOUT_S = 1.0
"""How long to wait for a message that another thread is sending, which hardly takes any time."""


def encode(message: Any) -> bytes:
    """Return a message as bytes that all Python versions read alike."""
    return marshal.dumps(to_wire(message), 2)


def decode(raw: bytes) -> Any:
    """Return the message that :func:`encode` encoded: one of our own parent, child or files."""
    return from_wire(marshal.loads(raw))


class Channel:
    """One end of the socket pair. Any thread may send; one thread at a time may receive."""

    def __init__(self, end: socket.socket, on_wait: Callable[[], None] = lambda: None) -> None:
        """Call ``on_wait`` now and then while :meth:`send` and :meth:`receive` wait for the other end."""
        self.socket = end
        self._on_wait = on_wait
        self._lock = threading.Lock()
        self._unsent = b""
        self._buffer = bytearray()

    def send(self, message: Any) -> None:
        """Send a message; raise OSError if the other end is closed."""
        with self._lock:
            rest = memoryview(self._unsent + _frame(message))
            while rest:
                self._wait(select.POLLOUT)
                with contextlib.suppress(BlockingIOError):
                    rest = rest[self.socket.send(rest, socket.MSG_DONTWAIT) :]
            self._unsent = b""

    def offer(self, message: Any) -> bool:
        """Send a message without blocking; return False if the other end is not reading, not even what is being sent.

        A message that fits in part counts as sent; the rest goes out before the next one.
        """
        if not self._lock.acquire(timeout=OFFER_TIMEOUT_S):
            return False
        try:
            if self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent, socket.MSG_DONTWAIT) :]
            if self._unsent:
                return False
            frame = _frame(message)
            self._unsent = frame[self.socket.send(frame, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return False
        finally:
            self._lock.release()
        return True

    def receive(self) -> list[Any] | None:
        """Wait for the next messages; return None once the other end is closed."""
        while not (messages := self._parse()):
            self._wait(select.POLLIN)
            try:
                data = self.socket.recv(READ_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self._buffer += data
        return messages

    def _wait(self, event: int) -> None:
        """Wait until the socket is ready, or the other end is closed."""
        poller = select.poll()  # not select(), which is for low descriptors only
        poller.register(self.socket, event)
        while not poller.poll(WAIT_INTERVAL_S * 1000):
            self._on_wait()

    def _parse(self) -> list[Any]:
        """Remove the complete messages from the buffer and return them."""
        messages = []
        while len(self._buffer) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(self._buffer[:HEADER_BYTES], "little")
            if len(self._buffer) < end:
                break
            messages.append(decode(bytes(self._buffer[HEADER_BYTES:end])))
            del self._buffer[:end]
        return messages

    def close(self) -> None:
        """Close this end."""
        self.socket.close()


def _frame(message: Any) -> bytes:
    raw = encode(message)
    return len(raw).to_bytes(HEADER_BYTES, "little") + raw
