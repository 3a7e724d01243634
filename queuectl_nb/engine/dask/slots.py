"""The seats that dask was asked for: as many as there is work, and not those of agents that are lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.engine.remote_lease import boot_clock

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.transport import ClusterTransport

__all__ = ["Slots"]

PAUSE = 1.0
"""Seconds until dask is asked again after it could not run a seat."""


class Slots:
    """What a dispatcher has of dask: tasks that wait for a thread, and threads."""

    def __init__(self, wire: ClusterTransport) -> None:
        """Ask over ``wire``."""
        self.wire = wire
        self.given: dict[str, str] = {}
        """Each seat, and the agent whose it is; empty while dask has given it no thread."""
        self._rest_until = 0.0

    def want(self, count: int) -> None:
        """Ask for seats until there are ``count``, or take back those without a thread that are too many."""
        missing = count - len(self.given)
        if missing > 0 and boot_clock() >= self._rest_until:
            self.given.update(dict.fromkeys(self.wire.seat(missing), ""))
        elif missing < 0:
            unseated = [name for name, agent in self.given.items() if not agent]
            if spare := unseated[:-missing]:
                self.wire.unseat(spare)
                for name in spare:
                    del self.given[name]

    def took(self, name: str, agent: str) -> None:
        """Take note that dask gave a seat to an agent."""
        if name in self.given:
            self.given[name] = agent

    def over(self, name: str, error: str | None) -> str | None:
        """Take note that a seat has left; return what kept it from ever being one."""
        agent = self.given.pop(name, "?")
        if error is None or error == "cancelled" or agent:
            return None
        self._rest_until = boot_clock() + PAUSE
        return error

    def leave(self, agent: str) -> None:
        """Count the seats of a lost agent no more, so that others are asked for."""
        for name in [name for name, whose in self.given.items() if whose == agent]:
            del self.given[name]

    def clear(self) -> None:
        """Forget all: the scheduler that had them is gone."""
        self.given.clear()
        self._rest_until = 0.0
