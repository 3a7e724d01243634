"""Runs commands on dask workers, many at a time, each sent to one agent, once.

A dask *task* is a slot and not a job: dask decides where slots are and how many, its priorities and resources apply,
and a slot that it runs twice is just one more slot. A job is sent in a request to an agent with a free slot, and that
agent reports what becomes of it. An agent without messages kills its jobs when the lease expires, so an attempt is
lost once its end is proven or that time is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.dask.in_flight import InFlight
from queuectl_nb.engine.dask.messages import Ended, Event, OutputGrew, ResultsReady, Running, SlotOpened, Unstarted
from queuectl_nb.engine.dask.recovery import recover
from queuectl_nb.engine.dask.remote_run import RemoteRun
from queuectl_nb.engine.dask.slots import Slots
from queuectl_nb.engine.dask.transport import (
    Answered,
    Connected,
    Disconnected,
    Recovered,
    RequestFailed,
    SlotEnded,
    WorkersChanged,
)
from queuectl_nb.engine.executor import LeaseLost, NoResources
from queuectl_nb.engine.remote_lease import boot_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from queuectl_nb.engine.dask.agent_state import AgentState
    from queuectl_nb.engine.dask.dispatch_journal import DispatchJournal
    from queuectl_nb.engine.dask.messages import Recovery, Request, Response
    from queuectl_nb.engine.dask.transport import ClusterTransport, Incoming
    from queuectl_nb.engine.events import WorkerEvents
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.spool import Spool

__all__ = ["DaskExecutor"]

RETRY_DELAY_S = 0.5
"""How long after a failed request the next one is sent."""
SCAN_INTERVAL_S = 0.25
"""How often all agents are checked; those with news are checked at once."""
SLOW_RESPONSE_S = 1.0
"""An agent that takes longer to respond gets no more jobs until it does."""
CHECK_INTERVAL_S = 1.0
"""How often to try to kill what a lost agent left."""
CHECK_TIMEOUT_S = 1.0


class DaskExecutor:
    """The executor of a dispatcher. All methods are called from the dispatcher's thread."""

    def __init__(
        self,
        transport: ClusterTransport,
        spool: Spool,
        journal: DispatchJournal,
        events: WorkerEvents,
        *,
        max_in_flight: int,
    ) -> None:
        self.fd = transport.fd
        self.max_in_flight = max_in_flight
        self.runs = InFlight()
        self.slots = Slots(transport)
        self._transport = transport
        self._spool = spool
        self._journal = journal
        self._events = events
        self._boot = heartbeat.boot_id()
        self._workers: set[str] = set()
        self._last_settings: Settings | None = None
        self._connected = True
        self._scan_at = 0.0

    # ------------------------------------------------------------------ called by the dispatcher

    @property
    def in_flight(self) -> int:
        """How many attempts are in flight."""
        return len(self.runs)

    def capacity(self) -> int:
        """Return how many jobs may be started now."""
        return min(self.max_in_flight - self.in_flight, self.runs.capacity())

    def request_slots(self, jobs: int) -> None:
        """Request slots from dask for ``jobs``, those in flight included."""
        if self._connected:
            self.slots.request(min(jobs, self.max_in_flight))

    def start(self, lease: Lease, settings: Settings, owned: Callable[[], bool]) -> RemoteRun:
        """Assign a job to an agent; call this only while there is capacity.

        Raises
        ------
        LeaseLost, NoResources
            A rescuer has settled the attempt; the dispatch journal could not be written.
        """
        del settings  # sent with the request
        agent = self.runs.best_agent()
        if agent is None:
            raise NoResources("no slot is free")  # noqa: EM101
        if not owned():
            raise LeaseLost
        try:
            self._journal.add(lease.token)
        except OSError as error:
            raise NoResources(str(error)) from error
        lease = lease._replace(env=dict(lease.env), recorded_env=dict(lease.recorded_env))
        run = RemoteRun(lease, self._spool, agent)
        self.runs.add(agent, run)
        return run

    def terminate(self, run: RemoteRun, grace_s: float) -> None:
        """Have an attempt killed: SIGTERM to its whole tree, SIGKILL after ``grace_s`` seconds."""
        agent = run.agent
        if agent is not None and run.token in agent.runs:
            agent.terminations[run.token] = min(grace_s, agent.terminations.get(run.token, grace_s))
            self.runs.mark_changed(agent)

    def poll(self) -> tuple[list[RemoteRun], list[RemoteRun]]:
        """Handle what has arrived; return the finished attempts and those newly reported as running."""
        for message in self._transport.receive():
            self._handle(message)
        return self.runs.take_changes()

    def maintain(self, settings: Settings) -> float:
        """Send the requests that are due and give up lost agents; return the seconds until the next call is due."""
        now = boot_clock()
        changed = settings != self._last_settings
        self._last_settings = settings
        if changed or now >= self._scan_at:
            self._scan_at = now + SCAN_INTERVAL_S
            agents = list(self.runs.agents.values())
        else:
            agents = list(self.runs.changed)
        self.runs.changed.clear()
        for agent in agents:
            self._maintain_agent(agent, settings, now, changed=changed)
        times = [at for agent in agents if (at := agent.next_due_at(settings.lease)) is not None]
        return max(0.0, min(times, default=60.0) - now) if agents else SCAN_INTERVAL_S

    def acknowledge(self, open_tokens: Collection[str]) -> None:
        """Remove all tokens but these from the dispatch journal: their attempts are settled."""
        self._journal.compact(open_tokens)

    def close(self) -> None:
        """Disconnect."""
        self._transport.close()

    # ------------------------------------------------------------------ agents

    def _maintain_agent(self, agent: AgentState, settings: Settings, now: float, *, changed: bool) -> None:
        if self._connected and agent.request_due(now, settings.lease, changed=changed):
            self._transport.send(agent.address, agent.id, agent.make_request(settings, now=now, changed=changed))
        elif changed:
            agent.forward_at = 0.0
        if agent.pending is not None and not agent.slow and now - agent.sent_at >= SLOW_RESPONSE_S:
            agent.slow = True
            self.runs.return_unsent(agent, "its dask worker is slow to respond")
        silent = agent.pending is not None or agent.unconfirmed or not self._connected
        if agent.gone or (silent and now >= agent.lost_at):
            self.slots.remove_agent(agent.id)
            if agent.runs:
                self._give_up(agent, now)
        if agent.gone and not agent.runs:
            self.runs.remove_agent(agent)

    def _give_up(self, agent: AgentState, now: float) -> None:
        """Recover what an agent left; lose its other attempts once their processes are gone or the lease is over."""
        if now >= agent.check_at:
            agent.check_at = now + CHECK_INTERVAL_S
            if agent.boot == self._boot:
                self._on_recovery(agent, recover(agent.recovery_query(), CHECK_TIMEOUT_S))
            elif peers := [each for each in self._workers if each != agent.address and _same_host(each, agent.address)]:
                self._transport.recover(peers, agent.id, agent.recovery_query())
        if now >= agent.lost_at and agent.check_at > now:
            self.runs.lose_agent(agent, proven=False)

    def _on_recovery(self, agent: AgentState, found: Recovery) -> None:
        for end in found.ended:
            self.runs.on_end(agent, end)
        for chunk in found.chunks:
            self.runs.on_chunk(agent, chunk)
        if found.ended or found.chunks:
            agent.check_at = 0.0  # there may be more
        elif found.gone:
            self.runs.lose_agent(agent, proven=True)

    # ------------------------------------------------------------------ incoming messages

    def _handle(self, message: Incoming) -> None:
        match message:
            case Event():
                self._on_event(message)
            case Answered() | RequestFailed() | Recovered():
                if (agent := self.runs.agents.get(message.agent)) is not None:
                    self._on_reply(agent, message)
                    self.runs.mark_changed(agent)
            case SlotEnded(slot, error):
                if (why := self.slots.on_end(slot, error)) is not None:
                    self._events.warn(f"dask could not run a slot: {why}")
            case WorkersChanged(workers):
                self._set_workers(workers)
            case Connected(workers):
                self._on_connect(workers)
            case Disconnected(reason):
                self._on_disconnect(reason)

    def _on_reply(self, agent: AgentState, reply: Answered | RequestFailed | Recovered) -> None:
        match reply:
            case Answered(_, request, response):
                self._on_response(agent, request, response)
            case RequestFailed(_, request):
                agent.on_failure(request, boot_clock(), RETRY_DELAY_S)
            case Recovered(_, recovery):
                self._on_recovery(agent, recovery)

    def _on_connect(self, workers: set[str]) -> None:
        self._connected = True
        self._set_workers(workers)
        for agent in self.runs.agents.values():
            agent.retry_at = 0.0
            self.runs.mark_changed(agent)

    def _set_workers(self, workers: set[str]) -> None:
        self._workers = workers
        for agent in self.runs.agents.values():
            if not agent.gone and agent.address not in workers:
                agent.gone = True
                self.runs.mark_changed(agent)

    def _on_disconnect(self, reason: str) -> None:
        self._events.warn(f"lost the connection to the dask scheduler ({reason}); reconnecting")
        self._connected = False
        self.slots.clear()
        for agent in self.runs.agents.values():
            self.runs.return_unsent(agent, "the scheduler is gone")
            if agent.pending is not None:
                agent.on_failure(agent.pending, boot_clock(), 0.0)
            agent.unconfirmed = True
            self.runs.mark_changed(agent)

    def _on_event(self, event: Event) -> None:
        if event.dispatcher_id != self._transport.dispatcher_id:
            return  # meant for a previous dispatcher of the same name
        agent = self.runs.agent_of(event)
        if agent is None:
            return
        agent.update(event.status)
        match event.body:
            case SlotOpened(slot):
                self.slots.on_open(slot, agent.id)
            case Running() as report:
                self.runs.on_running(agent, report)
            case OutputGrew() as report:
                self.runs.on_output(agent, report)
            case Ended() | Unstarted() as end:
                self.runs.on_end(agent, end)
            case ResultsReady():
                agent.sent_at = float("-inf")
        self.runs.mark_changed(agent)

    def _on_response(self, agent: AgentState, request: Request, response: Response | None) -> None:
        agent.on_response(request)
        if response is None:
            agent.gone = True  # another process has its address now, so the jobs of this request never started
            for run in list(agent.runs.values()):
                if run.request_number == request.number and run.end is None:
                    self.runs.finish(agent, Unstarted(run.token, "its dask worker had gone"))
            return
        agent.update(response.status)
        for end in response.ended:
            self.runs.on_end(agent, end)
        for chunk in response.chunks:
            self.runs.on_chunk(agent, chunk)
        self.runs.reconcile(agent, request, response)


def _same_host(one: str, other: str) -> bool:
    return one.rpartition(":")[0] == other.rpartition(":")[0]
