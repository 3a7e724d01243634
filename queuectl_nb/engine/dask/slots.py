"""The slots requested from dask: as many as there is work for, not counting those of lost agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.engine.remote_lease import boot_clock

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.transport import ClusterTransport

__all__ = ["Slots"]

RETRY_DELAY_S = 1.0
"""How long to request no slots after dask could not run one."""


class Slots:
    """The slot tasks of one dispatcher, whether they wait for a thread or have one."""

    def __init__(self, transport: ClusterTransport) -> None:
        self.agents: dict[str, str] = {}
        """The agent of each slot; empty while its task waits for a thread."""
        self._transport = transport
        self._retry_at = 0.0

    def request(self, count: int) -> None:
        """Submit tasks until there are ``count``, or cancel surplus ones that wait for a thread."""
        missing = count - len(self.agents)
        if missing > 0 and boot_clock() >= self._retry_at:
            self.agents.update(dict.fromkeys(self._transport.submit_slots(missing), ""))
        elif missing < 0:
            waiting = [slot for slot, agent in self.agents.items() if not agent]
            if surplus := waiting[:-missing]:
                self._transport.cancel_slots(surplus)
                for slot in surplus:
                    del self.agents[slot]

    def on_open(self, slot: str, agent: str) -> None:
        """Record that dask has started the task of a slot in the dask worker of ``agent``."""
        if slot in self.agents:
            self.agents[slot] = agent

    def on_end(self, slot: str, error: str | None) -> str | None:
        """Forget a slot whose task has ended; return the error if it could not be started."""
        agent = self.agents.pop(slot, "?")
        if error is None or error == "cancelled" or agent:
            return None
        self._retry_at = boot_clock() + RETRY_DELAY_S
        return error

    def remove_agent(self, agent: str) -> None:
        """Forget the slots of a lost agent, so that others are requested."""
        self.agents = {slot: each for slot, each in self.agents.items() if each != agent}

    def clear(self) -> None:
        """Forget all slots, since their scheduler is gone."""
        self.agents.clear()
        self._retry_at = 0.0
