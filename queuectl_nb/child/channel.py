"""What worker and fork server send each other: structures of fixed size, and requests with their size before them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

__all__ = ["EXIT", "PID", "SIZE", "receive"]

SIZE = struct.Struct("<I")
PID = struct.Struct("<I")
EXIT = struct.Struct("<iddq")
"""Status, user and system CPU seconds, and peak memory in the unit of ``getrusage``."""


def receive(channel: socket.socket, count: int) -> bytes | None:
    """Return ``count`` bytes; None if the other side has closed the socket."""
    parts = bytearray()
    while len(parts) < count:
        part = channel.recv(min(count - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
