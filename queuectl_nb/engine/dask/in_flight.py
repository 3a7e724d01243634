"""The attempts in flight and the agents that have them: what each report of an agent means for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.engine.dask.agent_state import MAX_PREFETCH, AgentState
from queuectl_nb.engine.dask.messages import Ended, SlotClosed, SlotOpened, Unstarted
from queuectl_nb.engine.dask.runner import SHORT_RUN_S
from queuectl_nb.model.outcome import Lost

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.messages import Event, OutputChunk, OutputGrew, Request, Response, Running
    from queuectl_nb.engine.dask.remote_run import RemoteRun

__all__ = ["InFlight"]


class InFlight:
    """Agents and attempts of one dispatcher."""

    def __init__(self) -> None:
        self.agents: dict[str, AgentState] = {}
        self.available: set[AgentState] = set()
        """The agents with capacity."""
        self.changed: set[AgentState] = set()
        """The agents to be checked by the next ``maintain``."""
        self._finished: list[RemoteRun] = []
        self._long_running: list[RemoteRun] = []

    def __len__(self) -> int:
        """Return the number of attempts in flight."""
        return sum(len(agent.runs) for agent in self.agents.values())

    def take_changes(self) -> tuple[list[RemoteRun], list[RemoteRun]]:
        """Return the attempts that have finished since the last call, and those newly reported as running."""
        finished, self._finished = self._finished, []
        long_running, self._long_running = self._long_running, []
        return finished, long_running

    # ------------------------------------------------------------------ agents

    def agent_of(self, event: Event) -> AgentState | None:
        """Return the sender of an event. An agent becomes known when one of its slots opens or closes."""
        status = event.status
        found = self.agents.get(status.agent)
        if found is None and isinstance(event.body, SlotOpened | SlotClosed):
            found = self.agents[status.agent] = AgentState(status.agent, status.address)
        return found

    def capacity(self) -> int:
        """Return how many more jobs the agents can take."""
        return sum(agent.capacity for agent in self.available)

    def best_agent(self) -> AgentState | None:
        """Return an agent with a free slot, or else one that accepts jobs ahead; None if none has capacity."""
        return next((each for each in self.available if each.free_slots > 0), None) or next(iter(self.available), None)

    def add(self, agent: AgentState, run: RemoteRun) -> None:
        """Send a job with the next request to ``agent``."""
        agent.unsent.append(run)
        agent.runs[run.token] = run
        self.mark_changed(agent)

    def mark_changed(self, agent: AgentState) -> None:
        """Have the next ``maintain`` check an agent, and update whether it has capacity."""
        self.changed.add(agent)
        if agent.capacity and agent.id in self.agents:
            self.available.add(agent)
        else:
            self.available.discard(agent)

    def remove_agent(self, agent: AgentState) -> None:
        """Forget an agent that is gone and has no attempts."""
        self.agents.pop(agent.id, None)
        self.available.discard(agent)

    # ------------------------------------------------------------------ attempts

    def on_running(self, agent: AgentState, report: Running) -> None:
        """Record that an attempt runs, and send no more jobs ahead to its agent for now."""
        run = agent.runs.get(report.token)
        if run is not None and run.started_at is None:
            run.mark_running(report.pid, report.age_s, agent.host)
            agent.prefetch = 0
            self._long_running.append(run)

    def on_output(self, agent: AgentState, report: OutputGrew) -> None:
        """Store reported output; what the report does not include is requested."""
        run = agent.runs.get(report.token)
        if run is not None and run.end is None:
            run.add_output(report.stream, report.offset, report.data, report.size)

    def on_chunk(self, agent: AgentState, chunk: OutputChunk) -> None:
        """Store requested output."""
        run = agent.runs.get(chunk.token)
        if run is not None:
            run.add_chunk(chunk.stream, chunk.offset, chunk.data)
            self._close_if_complete(agent, run)

    def on_end(self, agent: AgentState, end: Ended | Unstarted) -> None:
        """Record the end of an attempt; one that is unknown here was settled before."""
        run = agent.runs.get(end.token)
        if run is None:
            agent.acknowledged.append(end.token)
        elif run.end is None:
            self.finish(agent, end)
            if isinstance(end, Ended) and end.duration_s and end.duration_s < SHORT_RUN_S:
                agent.prefetch = min(MAX_PREFETCH, 2 * agent.slots, max(1, 2 * agent.prefetch))

    def finish(self, agent: AgentState, end: Ended | Unstarted) -> None:
        """End an attempt. It counts as finished once all of its output has been received."""
        run = agent.runs[end.token]
        run.finish(end, agent.host)
        self._close_if_complete(agent, run)

    def _close_if_complete(self, agent: AgentState, run: RemoteRun) -> None:
        if run.end is not None and run.complete:
            self._close(agent, run)

    def _close(self, agent: AgentState, run: RemoteRun) -> None:
        agent.remove_run(run.token)
        agent.acknowledged.append(run.token)
        self._finished.append(run)
        self.mark_changed(agent)

    def return_unsent(self, agent: AgentState, reason: str) -> None:
        """Return the jobs that have not been sent yet, so that they can start elsewhere."""
        runs, agent.unsent = agent.unsent, []
        for run in runs:
            self.finish(agent, Unstarted(run.token, reason))
        self.mark_changed(agent)

    def reconcile(self, agent: AgentState, request: Request, response: Response) -> None:
        """Compare the attempts that an agent has with those that were sent up to ``request``."""
        for report in response.running:
            self.on_running(agent, report)
        there = set(response.attempts)
        for token, run in list(agent.runs.items()):
            if 0 < run.request_number <= request.number and token not in there and run.end is None:
                # it never arrived, and the agent would ignore it now
                self.finish(agent, Unstarted(token, "it did not arrive"))

    def lose_agent(self, agent: AgentState, *, proven: bool) -> None:
        """Give up the attempts of an agent; ``proven`` means that none of their processes is left."""
        why = "died" if agent.gone else "did not respond"
        self.return_unsent(agent, f"its dask worker {why}")
        agent.unconfirmed = True
        for run in list(agent.runs.values()):
            if run.end is None:
                run.lose(Lost(f"dask worker {agent.address}", why, not proven))
            else:
                run.note = "the rest of its output was lost with its dask worker"
            self._close(agent, run)
