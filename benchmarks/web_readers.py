"""Slow clients of the feed, for ``web_clients.py``: many connections, each read a little at a time."""

from __future__ import annotations

import socket
import sys
import time

PIECE = 400
"""Bytes that a client reads at a time."""
ROUND = 1.0
"""Seconds in which each client reads once."""


def connected(port: int, token: str) -> socket.socket:
    """Return a connection on which the feed has begun."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


def main(port: int, token: str, count: int) -> None:
    """Connect, say so, and read slowly until the server is gone."""
    clients = [connected(port, token) for _ in range(count)]
    print("all connected", flush=True)
    while True:
        for client in clients:
            time.sleep(ROUND / count)
            if not client.recv(PIECE):
                return


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
