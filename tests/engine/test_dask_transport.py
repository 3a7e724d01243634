"""The end of a transport: a connection that fails, a loop that is already closed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.engine.dask.transport import ClusterTransport, Disconnected
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytest.importorskip("distributed")


def failing_transport(error: BaseException) -> ClusterTransport:
    """Return a transport whose connection raises ``error``."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[None]:
        raise error
        yield

    return ClusterTransport(connect, "topic", "queue.db", {})


def test_a_transport_closes_after_its_connection_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing works in the moment between the end of the event loop and that of its thread."""
    transport = failing_transport(OSError("refused"))
    transport.start()
    assert transport.failure == "refused"
    transport._thread.join()
    monkeypatch.setattr(transport._thread, "is_alive", lambda: True)
    transport.cancel_slots(["slot"])
    transport.close()


def test_a_cancelled_connection_is_retried() -> None:
    """A cancellation inside dask is a lost connection: the thread goes on."""
    transport = failing_transport(asyncio.CancelledError())
    transport.retry_first = True
    transport.start()
    assert until(transport.receive) == [Disconnected("CancelledError")]
    transport.close()
    assert not transport._thread.is_alive()
