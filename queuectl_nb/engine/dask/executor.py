"""Runs commands on dask workers, many at a time, each sent to one agent, once.

A dask *task* is a slot and not a job: dask decides where slots are and how many, its priorities and resources apply,
and a slot that it runs twice is just one more slot. A job is sent in a request to an agent with a free slot, and that
agent reports what becomes of it. An agent without messages kills its jobs when the lease expires, so an attempt is
lost once its end is proven or that time is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask.agent_state import RETRY_DELAY_S, AgentState
from queuectl_nb.engine.dask.messages import Ended, Event, RecoveryQuery, ResultsReady, Running, SlotOpened, Unstarted
from queuectl_nb.engine.dask.recovery import may_inspect, recover
from queuectl_nb.engine.dask.remote_run import RemoteRun
from queuectl_nb.engine.dask.transport import Answered, Disconnected, SlotEnded, WorkersChanged
from queuectl_nb.engine.executor import LeaseLost, NoResources
from queuectl_nb.engine.heartbeat import boot_clock, boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.engine.dask.dispatch_table import DispatchTable
    from queuectl_nb.engine.dask.messages import Recovery, Request
    from queuectl_nb.engine.dask.transport import ClusterTransport, Incoming
    from queuectl_nb.engine.events import WorkerEvents
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.spool import Spool

__all__ = ["DaskExecutor"]

SCAN_INTERVAL_S = 0.25
"""How often all agents are checked; those with news are checked at once."""
SLOW_RESPONSE_S = 1.0
"""An agent that takes longer to respond gets no more jobs until it does."""
CHECK_INTERVAL_S = 1.0
"""How often to try to kill what a lost agent left."""
CHECK_TIMEOUT_S = 1.0
SLOT_RETRY_DELAY_S = 1.0
"""How long to request no slots after dask could not run one."""
OUTAGE_TIMEOUT_S = 600.0
"""How long attempts on other hosts are kept while there is no scheduler: their ends may be on disk there."""
RESTART_TIMEOUT_S = 30.0
"""How long after an outage to wait for a dask worker on the host of a lost agent."""


class DaskExecutor:
    """The executor of a dispatcher. All methods are called from the dispatcher's thread."""

    def __init__(
        self,
        transport: ClusterTransport,
        spool: Spool,
        table: DispatchTable,
        events: WorkerEvents,
        *,
        max_in_flight: int,
    ) -> None:
        self.max_in_flight = max_in_flight
        self.agents: dict[str, AgentState] = {}
        self.slots: dict[str, str] = {}
        """The agent of each requested slot; empty while its task waits for a thread."""
        self._transport = transport
        self._spool = spool
        self._table = table
        self._events = events
        self._boot = boot_id()
        self._changed: set[AgentState] = set()
        """The agents to be checked by the next :meth:`maintain`."""
        self._available: set[AgentState] = set()
        """The agents with capacity."""
        self._finished: list[RemoteRun] = []
        self._long_running: list[RemoteRun] = []
        self._workers: set[str] = set()
        self._connected = True
        self._outage_until = 0.0
        self._slots_at = 0.0
        """When to request slots again."""
        self._scan_at = 0.0

    # ------------------------------------------------------------------ called by the dispatcher

    @property
    def in_flight(self) -> int:
        """How many attempts are in flight."""
        return sum(len(agent.runs) for agent in self.agents.values())

    def capacity(self) -> int:
        """Return how many jobs may be started now."""
        return min(self.max_in_flight - self.in_flight, sum(agent.capacity for agent in self._available))

    def request_slots(self, jobs: int) -> None:
        """Submit slot tasks until there is one for each of ``jobs``, those in flight included, or cancel surplus ones.

        Slots that have a thread are not cancelled: they end by themselves when no job arrives.
        """
        missing = min(jobs, self.max_in_flight) - len(self.slots)
        if self._connected and missing > 0 and boot_clock() >= self._slots_at:
            self.slots.update(dict.fromkeys(self._transport.submit_slots(missing), ""))
        elif self._connected and missing < 0:
            waiting = [slot for slot, agent in self.slots.items() if not agent]
            if surplus := waiting[:-missing]:
                self._transport.cancel_slots(surplus)
                for slot in surplus:
                    del self.slots[slot]

    def start(self, lease: Lease, owned: Callable[[], bool]) -> RemoteRun:
        """Assign a job to an agent if ``owned`` returns True; call this only while there is capacity.

        Raises
        ------
        LeaseLost, NoResources
            A rescuer has settled the attempt; the dispatch table could not be written.
        """
        free = (each for each in self._available if each.free_slots > 0)
        agent = next(free, None) or next(iter(self._available), None)
        if agent is None:
            raise NoResources("no slot is free")
        if not owned():
            raise LeaseLost
        try:
            self._table.add(lease.token)
        except OSError as error:
            raise NoResources(str(error)) from error
        run = RemoteRun(lease._replace(env=dict(lease.env), recorded_env=dict(lease.recorded_env)), self._spool, agent)
        agent.add(run)
        self._update(agent)
        return run

    def take_over(self, dispatcher: str, leases: Sequence[Lease], settings: Settings) -> list[RemoteRun]:
        """Recover the ends of attempts that a dead dispatcher has sent, as those of an agent that is gone."""
        agent = AgentState.of_dead_dispatcher(dispatcher, self._finished, self._long_running, settings)
        agent.runs = {lease.token: RemoteRun(lease, self._spool, agent) for lease in leases}
        self.agents[dispatcher] = agent
        return list(agent.runs.values())

    def terminate(self, run: RemoteRun, grace_s: float) -> None:
        """Kill an attempt: SIGTERM to its whole tree, SIGKILL after ``grace_s`` seconds."""
        if run.agent is not None:
            run.agent.terminate(run.token, grace_s)
            self._update(run.agent)

    def poll(self) -> tuple[list[RemoteRun], list[RemoteRun]]:
        """Handle what has arrived; return the attempts that have finished, and those newly reported as running."""
        for message in self._transport.receive():
            self._handle(message)
        for run in self._finished:
            self._table.remove(run.token)
        found = self._finished[:], self._long_running[:]
        self._finished.clear()
        self._long_running.clear()
        return found

    def maintain(self, settings: Settings) -> float:
        """Send the requests that are due and give up lost agents; return the seconds until the next call is due."""
        now = boot_clock()
        if now >= self._scan_at:
            self._scan_at = now + SCAN_INTERVAL_S
            self._changed.update(self.agents.values())
        agents, self._changed = self._changed, set()
        for agent in agents:
            self._maintain_agent(agent, settings, now)
        return 0.0 if self._finished else max(0.0, self._scan_at - now)

    # ------------------------------------------------------------------ agents

    def _update(self, agent: AgentState) -> None:
        """Let the next :meth:`maintain` check an agent, and update whether it has capacity."""
        self._changed.add(agent)
        if agent.capacity and agent.status.id in self.agents:
            self._available.add(agent)
        else:
            self._available.discard(agent)

    def _maintain_agent(self, agent: AgentState, settings: Settings, now: float) -> None:
        if self._connected and agent.request_due(now, settings):
            self._transport.ask([agent.status.address], agent.status.id, agent.make_request(now, settings))
        if agent.pending is not None and now - agent.sent_at >= SLOW_RESPONSE_S:
            agent.unconfirmed = True
            agent.return_unsent("its dask worker is slow to respond")
            self._update(agent)
        silent = agent.pending is not None or agent.unconfirmed or not self._connected
        if agent.gone or (silent and now >= agent.lost_at):
            self.slots = {slot: each for slot, each in self.slots.items() if each != agent.status.id}
            if agent.runs:
                self._give_up(agent, now)
                self._update(agent)
        if agent.gone and not agent.runs:
            self.agents.pop(agent.status.id, None)
            self._available.discard(agent)

    def _give_up(self, agent: AgentState, now: float) -> None:
        """Recover what an agent left; lose other attempts once their processes, or elsewhere their lease, are gone."""
        local = agent.status.boot == self._boot and may_inspect(agent.status.folder)
        if now >= agent.check_at:
            agent.check_at = now + CHECK_INTERVAL_S
            if local:
                self._on_recovery(agent, [recover(agent.recovery_query(), CHECK_TIMEOUT_S)])
            elif peers := [each for each in self._workers if _is_neighbour(each, agent.status.address)]:
                self._transport.ask(peers, agent.status.id, agent.recovery_query())
        if not local and now >= agent.lost_at and agent.check_at > now:
            agent.lose(proven=False, only_stopped=not self._connected and now < self._outage_until)

    def _on_recovery(self, agent: AgentState, found: list[Recovery]) -> None:
        """Apply what was found of an agent that is gone."""
        for each in found:
            for end in each.ended:
                agent.on_end(end)
            for chunk in each.chunks:
                agent.on_chunk(chunk)
        if any(each.ended or each.chunks for each in found):
            agent.check_at = 0.0  # there may be more
        elif any(each.gone for each in found):
            agent.lose(proven=True)

    # ------------------------------------------------------------------ incoming messages

    def _handle(self, message: Incoming) -> None:
        match message:
            case Event():
                self._on_event(message)
            case Answered(agent_id, question, answers):
                if (agent := self.agents.get(agent_id)) is not None:
                    self._on_answers(agent, question, answers)
                    self._update(agent)
            case SlotEnded(slot, error):
                self._on_slot_end(slot, error)
            case WorkersChanged(workers):
                self._on_workers(workers)
            case Disconnected(reason):
                self._on_disconnect(reason)

    def _on_answers(self, agent: AgentState, question: Request | RecoveryQuery, answers: list[Any]) -> None:
        if isinstance(question, RecoveryQuery):
            self._on_recovery(agent, answers)
        elif answers:
            agent.on_response(question, answers[0])
        else:
            agent.on_failure(question, boot_clock() + RETRY_DELAY_S)

    def _on_event(self, event: Event) -> None:
        if event.dispatcher_id != self._transport.dispatcher_id:
            return  # meant for a previous dispatcher of the same name
        agent = self.agents.get(event.status.id)
        if agent is None:
            if not isinstance(event.body, SlotOpened | None):
                return
            agent = AgentState(event.status, self._finished, self._long_running)
            self.agents[agent.status.id] = agent
        agent.update(event.status)
        match event.body:
            case SlotOpened(slot):
                if slot in self.slots:
                    self.slots[slot] = agent.status.id
            case Running() as report:
                agent.on_running(report)
            case Ended() | Unstarted() as end:
                agent.on_end(end)
            case ResultsReady():
                agent.sent_at = float("-inf")
        self._update(agent)

    def _on_slot_end(self, slot: str, error: str | None) -> None:
        agent = self.slots.pop(slot, None)
        if error is not None and agent == "":
            self._slots_at = boot_clock() + SLOT_RETRY_DELAY_S
            self._events.warn(f"dask could not run a slot: {error}")

    def _on_workers(self, workers: set[str]) -> None:
        self._workers = workers
        for agent in self.agents.values():
            agent.gone = agent.gone or agent.status.address not in workers
            if not self._connected:
                agent.retry_at = 0.0
                agent.lost_at = max(agent.lost_at, boot_clock() + RESTART_TIMEOUT_S)
            self._update(agent)
        self._connected = True

    def _on_disconnect(self, reason: str) -> None:
        self._events.warn(f"lost the connection to the dask scheduler ({reason}); reconnecting")
        if self._connected:
            self._connected = False
            self._outage_until = boot_clock() + OUTAGE_TIMEOUT_S
        self.slots.clear()
        self._slots_at = 0.0
        for agent in self.agents.values():
            agent.return_unsent("the scheduler is gone")
            if agent.pending is not None:
                agent.on_failure(agent.pending, 0.0)
            agent.unconfirmed = True
            self._update(agent)


def _is_neighbour(one: str, other: str) -> bool:
    """Return True for the addresses of two dask workers on one host, or if ``other`` is unknown."""
    return not other or (one != other and one.rpartition(":")[0] == other.rpartition(":")[0])
