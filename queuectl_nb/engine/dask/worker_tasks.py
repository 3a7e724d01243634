"""The functions that a dispatcher has dask's workers run: a seat, a letter, a look for agents, a sweep.

They go over the wire by name, so a dask worker needs this package beside dask, but none of its heavy parts: nothing
here opens a queue.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine import heartbeat, process_tree
from queuectl_nb.engine.dask.agent import Agent

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.channel import Message

__all__ = ["PROTOCOL", "check_version", "find_agent", "handle_request", "kill_leftovers", "run_slot"]

PROTOCOL = 1
"""Raised with each change of what dispatcher and agent tell each other."""
PATIENCE = 3.0
_LOCK = threading.Lock()
_HOLD = "_queuectl_agents"


def _agents(worker: Any) -> dict[str, Agent]:
    found: dict[str, Agent] = worker.__dict__.setdefault(_HOLD, {})
    return found


def check_version(protocol: int) -> str:
    """Tell whether this package speaks the dispatcher's language: an empty text, or what is wrong."""
    if protocol == PROTOCOL:
        return ""
    import importlib.metadata

    return f"another version of queuectl-nb ({importlib.metadata.version('queuectl-nb')}) runs there"


def run_slot(desk: str, topic: str, db: str, seat: str) -> None:
    """Be a seat of the dispatcher ``desk``: run its jobs on this thread for as long as they come."""
    from distributed import get_worker

    worker = get_worker()
    with _LOCK:
        agents = _agents(worker)
        agent = agents.get(desk)
        if agent is None:
            for other in [other for other, each in agents.items() if each.forgotten]:
                agents.pop(other).dismiss()
            tell = partial(worker.log_event, topic)
            agent = agents[desk] = Agent(desk, tell, worker.local_directory, db, worker.address)
    agent.sit(seat)


def handle_request(desk: str, agent: str, letter: Message, dask_worker: Any = None) -> Message | None:
    """Hand a letter to an agent and return its answer; None where that agent is not here any more."""
    found = _agents(dask_worker).get(desk)
    return None if found is None or found.id != agent else found.take(letter)


def find_agent(desk: str, dask_worker: Any = None) -> str:
    """Return the id of the dispatcher's agent here; empty where it has none."""
    found = _agents(dask_worker).get(desk)
    return "" if found is None else found.id


async def kill_leftovers(boot: str, tokens: list[str], dask_worker: Any = None) -> bool:
    """End what is left of another dask worker's attempts; tell whether nothing is.

    Only where a process can be seen from here at all: ``boot`` must be this boot and pid namespace.
    """
    del dask_worker
    if boot != heartbeat.boot_id():
        return False
    return await asyncio.to_thread(
        process_tree.kill_until_gone, lambda: process_tree.holders(tokens, []), PATIENCE, lambda: None
    )
