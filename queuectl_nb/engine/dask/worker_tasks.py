"""The functions that a dispatcher has dask workers run.

They are sent by name, so a dask worker needs this package, but none of its heavy parts: nothing here opens a queue.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import threading
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask import recovery
from queuectl_nb.engine.dask.agent import CLEANUP_TIMEOUT_S, Agent
from queuectl_nb.engine.dask.messages import PROTOCOL, RecoveryQuery, from_wire, to_wire

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.messages import Event

__all__ = ["answer", "check_version", "run_slot"]

_LOCK = threading.Lock()


def _agents(worker: Any) -> dict[str, Agent]:
    """Return the agents in this dask worker by dispatcher id."""
    agents: dict[str, Agent] = worker.__dict__.setdefault("_queuectl_agents", {})
    return agents


def _parent_folder(worker: Any) -> str:
    """Return the folder for the folders of agents; the dask worker's own is removed when it exits."""
    return os.path.dirname(f"{worker.local_directory}")


def check_version(protocol: int) -> str:
    """Return what is wrong with the version of this package, or an empty string."""
    if protocol == PROTOCOL:
        return ""
    return f"another version of queuectl-nb ({importlib.metadata.version('queuectl-nb')}) runs there"


def run_slot(slot: str, dispatcher_id: str, topic: str, db: str) -> None:
    """Run jobs of a dispatcher on this thread until none arrives for a while."""
    from distributed import get_worker

    worker = get_worker()

    def send_event(event: Event) -> None:
        worker.log_event(topic, to_wire(event))

    with _LOCK:
        agents = _agents(worker)
        agent = agents.get(dispatcher_id)
        if agent is None:
            for other in [other for other, each in agents.items() if each.abandoned]:
                agents.pop(other).remove_files()
            folder = _parent_folder(worker)
            recovery.remove_old_folders(folder)
            agent = Agent(dispatcher_id, send_event, folder, db, worker.address)
            agents[dispatcher_id] = agent
    agent.run_slot(slot)


async def answer(dispatcher_id: str, agent_id: str, question: Any, dask_worker: Any = None) -> Any:
    """Answer a request to an agent in this dask worker, or a query about one that is gone.

    The answer to a request is None if its agent is gone.
    """
    message = from_wire(question)
    if isinstance(message, RecoveryQuery):
        if not message.folder:
            return to_wire(await asyncio.to_thread(recovery.find_ends, _parent_folder(dask_worker), message))
        return to_wire(await asyncio.to_thread(recovery.recover, message, CLEANUP_TIMEOUT_S))
    agent = _agents(dask_worker).get(dispatcher_id)
    return None if agent is None or agent.id != agent_id else to_wire(agent.handle_request(message))
