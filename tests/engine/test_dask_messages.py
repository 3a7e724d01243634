"""The wire format of the messages between dispatcher, agents and runners."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.engine.dask.channel import decode, encode
from queuectl_nb.engine.dask.messages import (
    AgentStatus,
    Ended,
    Event,
    LeaseRenewal,
    OutputChunk,
    OutputRead,
    Recovery,
    RecoveryQuery,
    Request,
    Response,
    Running,
    Unstarted,
    from_wire,
    to_wire,
)
from queuectl_nb.model.attempt import Lease, Usage
from queuectl_nb.model.outcome import Cancelled, Exited, Lost

STATUS = AgentStatus("agent", "tcp://here:1", "boot", "host", "/folder", 3, 2, 1.5)
LEASE = Lease(
    1,
    "job-1",
    1,
    "f" * 32,
    "true",
    "/",
    "q",
    0,
    1,
    None,
    None,
    {"Lease": "Usage"},
    {"Ended": "x"},
    None,
    "command",
    None,
)
ENDED = Ended("a" * 32, Lost("worker", "died", may_overlap=True), Usage(0.1, None, 3), result="[1]")
READ = OutputRead("a" * 32, "stdout", 0, 9)
MESSAGES = [
    Request(1, LeaseRenewal(2.0, {"timeout": 1.0}), [LEASE], 4, {"a" * 32: 0.5}, [READ]),
    Event("dispatcher", STATUS, Ended("a" * 32, Exited(3), output={"stdout": (0, b"Ended")})),
    Event("dispatcher", STATUS, None),
    Event("dispatcher", STATUS, Unstarted("a" * 32, "Usage")),
    Response(STATUS, ["a" * 32], [Running("a" * 32, None, 1.0)], [ENDED], [OutputChunk("a" * 32, "stdout", 0, None)]),
    RecoveryQuery("/folder", "boot", ["a" * 32], [READ]),
    Recovery(True, [ENDED], [OutputChunk("a" * 32, "stdout", 0, b"Lease")]),
    Ended("a" * 32, Cancelled()),
    None,
]


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_survive_marshal(message: Any) -> None:
    """An agent and its runner exchange the same messages, types included."""
    assert decode(encode(message)) == message


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_survive_msgpack_as_dask_uses_it(message: Any) -> None:
    """Dask returns tuples for lists."""
    msgpack = pytest.importorskip("msgpack")
    raw = msgpack.unpackb(msgpack.packb(to_wire(message)), use_list=False)
    assert from_wire(raw) == message
