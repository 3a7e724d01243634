"""How a dispatcher handles silence: when an attempt is lost, when it may overlap, when it was never sent."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.dask import agent_state, executor, recovery
from queuectl_nb.engine.dask.dispatch_table import DispatchTable, read_dispatched
from queuectl_nb.engine.dask.executor import OUTAGE_TIMEOUT_S, RESTART_TIMEOUT_S, DaskExecutor
from queuectl_nb.engine.dask.messages import (
    AgentStatus,
    Ended,
    Event,
    OutputChunk,
    OutputRead,
    Recovery,
    RecoveryQuery,
    Response,
    ResultsReady,
    Running,
    SlotOpened,
    Unstarted,
)
from queuectl_nb.engine.dask.recovery import create_folder, find_ends, save_end
from queuectl_nb.engine.dask.transport import Answered, Disconnected, WorkersChanged
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.executor import NoResources
from queuectl_nb.model.attempt import Lease
from queuectl_nb.model.outcome import Cancelled, Exited, Lost
from queuectl_nb.model.settings import Settings
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.messages import Request
    from queuectl_nb.engine.dask.remote_run import RemoteRun
    from queuectl_nb.engine.dask.transport import Incoming

SETTINGS = Settings.from_stored({"lease": "10", "kill_grace": "5"})
REMOTE_LEASE_S = 10 + 2 + 1
"""The lease, the short grace of an orphaned command, a margin."""
HERE, THERE = "tcp://10.0.0.1:1", "tcp://10.0.0.2:1"


class FakeTransport:
    """Records what is sent and delivers what the test puts into ``inbox``."""

    fd = -1
    dispatcher_id = "dispatcher"

    def __init__(self) -> None:
        self.inbox: list[Incoming] = []
        self.requests: list[tuple[str, Request]] = []
        self.queries: list[tuple[list[str], RecoveryQuery]] = []
        self.submitted = 0

    def receive(self) -> list[Incoming]:
        found, self.inbox = self.inbox, []
        return found

    def submit_slots(self, count: int) -> list[str]:
        self.submitted += count
        return [f"slot-{self.submitted - n}" for n in range(count)]

    def cancel_slots(self, names: list[str]) -> None:
        self.submitted -= len(names)

    def ask(self, addresses: list[str], agent: str, question: Request | RecoveryQuery) -> None:
        if isinstance(question, RecoveryQuery):
            self.queries.append((addresses, question))
        else:
            self.requests.append((agent, question))


class ExecutorHarness:
    """An executor on a fake transport, with a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.transport = FakeTransport()
        self.table = DispatchTable(folder, "worker-1")
        self.executor = DaskExecutor(
            self.transport,  # type: ignore[arg-type]
            Spool(folder),
            self.table,
            WorkerEvents(Events(os.open(os.devnull, os.O_WRONLY)), "worker-1"),
            max_in_flight=10,
        )
        self.folder = folder
        self.jobs = 0
        self.sequence = 0

    def deliver(self, *messages: Incoming) -> None:
        """Let messages arrive."""
        self.transport.inbox += messages

    def status(self, agent: str = "a", address: str = HERE, slots: int = 1) -> AgentStatus:
        """Return the status of an agent whose clock is seven seconds ahead."""
        self.sequence += 1
        return AgentStatus(agent, address, f"boot of {address}", "far", "/nowhere", self.sequence, slots, self.now + 7)

    def emit(self, body: Any, status: AgentStatus | None = None, dispatcher_id: str = "dispatcher") -> None:
        """Let an agent send an event."""
        self.deliver(Event(dispatcher_id, status or self.status(), body))

    def open_slot(self, agent: str = "a", address: str = HERE) -> None:
        """Let dask start a slot."""
        self.executor.request_slots(len(self.executor.slots) + 1)
        slot = next(slot for slot, given in self.executor.slots.items() if not given)
        self.emit(SlotOpened(slot), self.status(agent, address))
        self.executor.poll()

    def start(self) -> RemoteRun:
        """Start a job."""
        self.jobs += 1
        token = f"{self.jobs:032x}"
        lease = Lease(
            self.jobs,
            f"job-{self.jobs}",
            1,
            token,
            "true",
            "/",
            "default",
            0,
            1,
            None,
            None,
            {},
            {},
            None,
            "command",
            None,
        )
        return self.executor.start(lease, lambda: True)

    def answer(self, *tokens: str) -> None:
        """Answer the last request: these attempts are there, or by default all that were sent."""
        agent, request = self.transport.requests[-1]
        there = list(tokens) or [lease.token for _, each in self.transport.requests for lease in each.jobs]
        self.deliver(Answered(agent, request, [Response(self.status(agent), there, [], [], [])]))

    def recover(self, *found: Recovery) -> None:
        """Let peers answer the last query."""
        self.deliver(Answered("a", self.transport.queries[-1][1], list(found)))

    def fail(self) -> None:
        """Let the last request fail."""
        self.deliver(Answered(*self.transport.requests[-1], []))

    def step(self, seconds: float = 0.0) -> list[RemoteRun]:
        """Let time pass; return the finished attempts."""
        self.now += seconds
        finished, _ = self.executor.poll()
        self.executor.maintain(SETTINGS)
        return finished + self.executor.poll()[0]


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExecutorHarness:
    """Return a harness whose clock only moves when the test moves it."""
    found = ExecutorHarness(tmp_path)
    for module in (executor, agent_state):
        monkeypatch.setattr(module, "boot_clock", lambda: found.now)
    return found


def test_a_request_carries_the_lease_in_the_agents_time(harness: ExecutorHarness) -> None:
    """The lease ends at a moment of the agent's clock, so that a delayed request does not extend it."""
    harness.open_slot()
    harness.start()
    harness.step()
    (_, request) = harness.transport.requests[0]
    assert request.renewal.until == pytest.approx(harness.now + 7 + 10)
    assert [lease.job_id for lease in request.jobs] == ["job-1"]


def test_the_dispatch_table_is_written_first(harness: ExecutorHarness) -> None:
    """Before the request is sent, the token is where a rescuer finds it."""
    harness.open_slot()
    run = harness.start()
    assert harness.transport.requests == []
    assert read_dispatched(harness.folder, "worker-1") == {run.token}


def test_an_attempt_that_cannot_be_recorded_is_not_sent(
    harness: ExecutorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk an attempt is released instead of being sent, since no rescuer could know of it."""
    harness.open_slot()

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        with pytest.raises(NoResources, match="No space left"):
            harness.start()
    harness.step()
    assert (harness.executor.in_flight, harness.transport.requests) == (0, [])
    run = harness.start()
    assert read_dispatched(harness.folder, "worker-1") == {run.token}


def test_a_silent_agent_is_lost_when_its_lease_is_over_and_not_before(harness: ExecutorHarness) -> None:
    """Without a response the attempt is lost after lease, grace and margin; it may overlap, since nobody saw it end."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    assert harness.step(REMOTE_LEASE_S - 0.1) == []
    assert harness.step(0.3) == [run]
    assert run.outcome == Lost(f"dask worker {HERE}", "did not respond", may_overlap=True)
    assert "may_overlap" in str(run.outcome.error)


def test_responses_extend_the_lease(harness: ExecutorHarness) -> None:
    """While requests are answered nothing is lost, however long a job runs."""
    harness.open_slot()
    harness.start()
    harness.step()
    for _ in range(20):
        harness.answer()
        assert harness.step(2.6) == []
    assert len(harness.transport.requests) >= 15


def test_failed_requests_do_not_extend_the_lease(harness: ExecutorHarness) -> None:
    """Requests to an unreachable agent are repeated, and its attempts are lost in time all the same."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    harness.answer()
    harness.step(2.6)
    sent = harness.now
    finished: list[RemoteRun] = []
    while not finished:
        harness.fail()
        finished = harness.step(0.6)
        assert harness.now < sent + REMOTE_LEASE_S + 2
    assert finished == [run]
    assert harness.now >= sent + REMOTE_LEASE_S - 0.1


def test_a_late_end_is_ignored(harness: ExecutorHarness) -> None:
    """The end of an attempt that was given up is acknowledged, and changes nothing."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    harness.step(REMOTE_LEASE_S + 1)
    harness.emit(Ended(run.token, Exited(0)))
    assert harness.step() == []
    assert isinstance(run.outcome, Lost)


def test_a_reported_end_counts_although_the_agent_is_gone(harness: ExecutorHarness) -> None:
    """A dask worker that reported the end of a job before it died has not lost it."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    harness.emit(Ended(run.token, Exited(0), duration_s=0.1))
    harness.deliver(WorkersChanged(set()))
    assert harness.step() == [run]
    assert run.outcome == Exited(0)


def test_a_job_that_did_not_arrive_is_returned_unstarted(harness: ExecutorHarness) -> None:
    """A request failed and a later one was answered without the job: it never started, and never will."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    harness.fail()
    assert harness.step() == []
    assert harness.step(0.6) == []
    assert harness.transport.requests[-1][1].jobs == []
    harness.answer("another")
    assert harness.step() == [run]
    assert isinstance(run.end, Unstarted)


def test_a_peer_kills_what_a_dead_dask_worker_left(harness: ExecutorHarness) -> None:
    """Another dask worker of the same host proves that nothing is left: then the attempt is lost at once."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    peer = "tcp://10.0.0.1:2"
    harness.deliver(WorkersChanged({peer, THERE}))
    assert harness.step(1.0) == []
    ((peers, query),) = harness.transport.queries
    assert (peers, query.boot, query.tokens) == ([peer], f"boot of {HERE}", ["a", run.token])
    assert harness.step(0.5) == []
    harness.recover(Recovery(gone=True, ended=[], chunks=[]))
    assert harness.step() == [run]
    assert run.outcome == Lost(f"dask worker {HERE}", "died", may_overlap=False)


def test_the_dispatcher_kills_what_a_dead_dask_worker_left_on_its_own_host(harness: ExecutorHarness) -> None:
    """On the same host the dispatcher itself proves that nothing is left: the attempt is lost at once."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    harness.emit(ResultsReady(), harness.status()._replace(boot=heartbeat.boot_id()))
    harness.deliver(WorkersChanged({THERE}))
    assert harness.step() == [run]
    assert run.outcome == Lost(f"dask worker {HERE}", "died", may_overlap=False)


def test_nothing_follows_processes_that_are_left_on_the_own_host(
    harness: ExecutorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dispatcher kills until nothing is left, also after the lease, since it sees all processes."""
    gone: list[bool] = []
    monkeypatch.setattr(executor, "recover", lambda *_: Recovery(bool(gone), [], []))
    harness.open_slot()
    run = harness.start()
    harness.step()
    harness.emit(ResultsReady(), harness.status()._replace(boot=heartbeat.boot_id()))
    assert harness.step(1000) == []
    assert harness.step(1) == []
    gone.append(True)
    assert harness.step(1) == [run]
    assert run.outcome == Lost(f"dask worker {HERE}", "did not respond", may_overlap=False)


def test_processes_of_another_user_are_not_proven_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not read the environments of an agent's processes does not see them, which proves nothing."""
    folder, lock = create_folder(f"{tmp_path}", "agent")
    query = RecoveryQuery(folder, heartbeat.boot_id(), ["agent"], [])
    assert recovery.recover(query, 60.0).gone
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    assert not recovery.recover(query, 60.0).gone
    os.close(lock)


def test_an_end_that_was_not_delivered_is_recovered_by_a_peer(harness: ExecutorHarness) -> None:
    """The end of a command and the rest of its output are read from the disk of a dead dask worker's host."""
    harness.open_slot()
    harness.emit(SlotOpened("another"), harness.status(slots=2))
    harness.step()
    run, other = harness.start(), harness.start()
    harness.step()
    harness.deliver(WorkersChanged({"tcp://10.0.0.1:2"}))
    harness.step()
    end = Ended(run.token, Exited(0), duration_s=9.0, sizes={"stdout": 6})
    harness.recover(Recovery(gone=True, ended=[end], chunks=[]))
    assert harness.step() == []
    (_, query) = harness.transport.queries[-1]
    assert query.tokens == ["a", other.token]
    assert [(read.token, read.stream, read.offset) for read in query.reads] == [(run.token, "stdout", 0)]
    chunk = OutputChunk(run.token, "stdout", 0, b"hello\n")
    harness.recover(Recovery(gone=True, ended=[], chunks=[chunk]))
    assert harness.step() == [run]
    assert run.outcome == Exited(0)
    assert Path(run.paths["stdout"]).read_bytes() == b"hello\n"
    harness.recover(Recovery(gone=True, ended=[], chunks=[]))
    assert harness.step() == [other]
    assert other.outcome == Lost(f"dask worker {HERE}", "died", may_overlap=False)


def test_an_end_is_recovered_without_a_scheduler_on_the_same_host(harness: ExecutorHarness, tmp_path: Path) -> None:
    """While the scheduler is down, the dispatcher itself reads the ends on its own host."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    folder, lock = create_folder(f"{tmp_path}", "a")
    status = harness.status()._replace(boot=heartbeat.boot_id(), folder=folder)
    harness.emit(ResultsReady(), status)
    harness.step()
    harness.deliver(Disconnected("closed"))
    end = Ended(run.token, Exited(3), duration_s=9.0, sizes={"stdout": 3}, output={"stdout": (0, b"\xff\0\n")})
    save_end(folder, end)
    assert harness.step(REMOTE_LEASE_S - 0.1) == []
    assert harness.step(0.3) == [run]
    assert run.outcome == Exited(3)
    assert Path(run.paths["stdout"]).read_bytes() == b"\xff\0\n"
    os.close(lock)


def start_and_disconnect(harness: ExecutorHarness) -> RemoteRun:
    """Return an attempt that was running when the connection to the scheduler was lost."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    harness.answer()
    harness.step()
    harness.deliver(Disconnected("closed"))
    return run


def lose_scheduler(harness: ExecutorHarness) -> RemoteRun:
    """Return an attempt on another host whose lease is over while there is no scheduler."""
    run = start_and_disconnect(harness)
    for _ in range(3):
        assert harness.step(OUTAGE_TIMEOUT_S / 4) == []
        harness.deliver(Disconnected("refused"))
    return run


def test_an_end_is_recovered_after_a_long_outage(harness: ExecutorHarness) -> None:
    """A scheduler is away for longer than the lease: the end of a command is read by the next dask worker there."""
    run = lose_scheduler(harness)
    harness.deliver(WorkersChanged(set()))
    assert harness.step() == []
    assert harness.step(RESTART_TIMEOUT_S - 5) == []
    harness.deliver(WorkersChanged({"tcp://10.0.0.1:2"}))
    assert harness.step(1.0) == []
    (_, query) = harness.transport.queries[-1]
    assert query.tokens == ["a", run.token]
    end = Ended(run.token, Exited(0), duration_s=9.0)
    harness.recover(Recovery(gone=True, ended=[end], chunks=[]))
    assert harness.step() == [run]
    assert run.outcome == Exited(0)


def take_over(harness: ExecutorHarness) -> list[RemoteRun]:
    """Return two attempts that a dead dispatcher has sent."""
    leases = [
        Lease(n, f"job-{n}", 1, f"{n:032x}", "", "", "default", 0, 1, None, None, {}, {}, None, "command", None)
        for n in (1, 2)
    ]
    for lease in leases:
        harness.table.add(lease.token)
    return harness.executor.take_over("worker-9", leases, SETTINGS)


def test_all_dask_workers_are_asked_for_the_ends_that_a_dead_dispatcher_missed(harness: ExecutorHarness) -> None:
    """A dispatcher recovers ends from agents that it does not know; the other attempts are lost with their lease."""
    harness.deliver(WorkersChanged({HERE, THERE}))
    run, other = take_over(harness)
    assert harness.step(1.0) == []
    ((peers, query),) = harness.transport.queries
    assert (set(peers), query.folder, query.tokens) == ({HERE, THERE}, "", ["worker-9", run.token, other.token])
    end = Ended(run.token, Exited(0), sizes={"stdout": 6})
    found = [Recovery(gone=False, ended=[end], chunks=[])] * 2
    harness.deliver(Answered("worker-9", query, found))
    assert harness.step() == []
    (_, query) = harness.transport.queries[-1]
    chunk = OutputChunk(run.token, "stdout", 0, b"hello\n")
    harness.deliver(Answered("worker-9", query, [Recovery(gone=False, ended=[], chunks=[chunk])]))
    assert harness.step() == [run]
    assert (run.outcome, Path(run.paths["stdout"]).read_bytes()) == (Exited(0), b"hello\n")
    assert harness.step(REMOTE_LEASE_S - 1.1) == []
    assert harness.step(0.2) == [other]
    assert other.outcome == Lost("worker-9", "died", may_overlap=True)
    assert (harness.executor.in_flight, harness.transport.requests) == (0, [])


def test_attempts_of_a_dead_dispatcher_are_kept_while_there_is_no_scheduler(harness: ExecutorHarness) -> None:
    """A dispatcher that cannot connect yet gives nothing up that it has taken over."""
    harness.deliver(Disconnected("refused"))
    runs = take_over(harness)
    assert harness.step(OUTAGE_TIMEOUT_S - 1) == []
    harness.deliver(WorkersChanged({THERE}))
    assert harness.step(1.0) == []
    assert harness.transport.queries[-1][0] == [THERE]
    assert harness.step(RESTART_TIMEOUT_S) == runs


def test_ends_are_found_in_the_folders_of_all_agents(tmp_path: Path) -> None:
    """Nothing is killed, as agents may be alive; folders of other users and damaged ends are left out."""
    token, cut, sleeping = "a" * 32, "b" * 32, "c" * 32
    agents = [create_folder(f"{tmp_path}", name) for name in ("one", "two", "foreign")]
    (one, _), (two, _), (foreign, _) = agents
    save_end(one, Ended(token, Exited(3), sizes={"stdout": 2}))
    Path(one, f"{token}.stdout").write_bytes(b"ok")
    Path(two, f"{cut}.end").write_bytes(b"cut")
    save_end(foreign, Ended(cut, Exited(0)))
    if os.geteuid() == 0:
        os.chown(foreign, 65534, 65534)
    else:
        shutil.rmtree(foreign)
    reads = [OutputRead(token, "stdout", 0, 100)]
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "QUEUECTL_ATTEMPT_TOKEN": sleeping}) as process:
        found = find_ends(f"{tmp_path}", RecoveryQuery("", "", ["worker-9", token, cut, sleeping], reads))
        assert process.poll() is None
        process.kill()
    assert found.gone is False
    assert [(end.token, end.outcome) for end in found.ended] == [(token, Exited(3))]
    assert [(each.token, each.data) for each in found.chunks] == [(token, b"ok")]
    for _, lock in agents:
        os.close(lock)


def test_an_attempt_is_lost_if_no_dask_worker_returns_after_an_outage(harness: ExecutorHarness) -> None:
    """Nobody on the host can read its end: it may have finished, so the attempt says that it may overlap."""
    run = lose_scheduler(harness)
    harness.deliver(WorkersChanged({THERE}))
    assert harness.step() == []
    assert harness.step(RESTART_TIMEOUT_S - 1) == []
    assert harness.step(1.3) == [run]
    assert run.outcome == Lost(f"dask worker {HERE}", "died", may_overlap=True)


def test_a_stopped_attempt_does_not_wait_for_the_scheduler(harness: ExecutorHarness) -> None:
    """A cancellation or a stop ends the wait for an attempt whose lease is over."""
    run = lose_scheduler(harness)
    run.forced_outcome = Cancelled()
    harness.executor.terminate(run, 0.1)
    assert harness.step() == [run]


def test_output_is_requested_again_after_a_failed_request(harness: ExecutorHarness) -> None:
    """The end of a command arrived, but not the request for the rest of its output: it is asked for again."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    harness.answer()
    harness.emit(Ended(run.token, Exited(0), sizes={"stdout": 6}))
    assert harness.step() == []
    assert [read.stream for read in harness.transport.requests[-1][1].reads] == ["stdout"]
    harness.fail()
    harness.step()
    harness.step(0.6)
    assert [read.stream for read in harness.transport.requests[-1][1].reads] == ["stdout"]


def test_output_that_a_command_truncates_does_not_keep_it_open(harness: ExecutorHarness) -> None:
    """A command that truncates the file of its output after some of it was reported finishes all the same."""
    harness.open_slot()
    run = harness.start()
    harness.step()
    harness.emit(Running(run.token, 7, 0.1, {"stdout": 6}, {"stdout": (0, b"hello\n")}))
    harness.emit(Ended(run.token, Exited(0), sizes={"stdout": 2}))
    assert harness.step() == [run]
    assert Path(run.paths["stdout"]).read_bytes() == b"hello\n"


def test_unsent_jobs_are_returned_when_the_scheduler_is_lost(harness: ExecutorHarness) -> None:
    """Without a scheduler unsent jobs are returned; those that were sent wait for it for ten minutes."""
    harness.open_slot()
    sent = harness.start()
    harness.step()
    harness.open_slot("b", THERE)
    unsent = harness.start()
    harness.deliver(Disconnected("closed"))
    assert harness.step() == [unsent]
    assert isinstance(unsent.end, Unstarted)
    assert harness.executor.capacity() == 0
    assert harness.step(OUTAGE_TIMEOUT_S - 1) == []
    assert harness.step(1.3) == [sent]
    assert sent.outcome == Lost(f"dask worker {HERE}", "did not respond", may_overlap=True)


def test_jobs_survive_a_short_loss_of_the_scheduler(harness: ExecutorHarness) -> None:
    """Connected again within the lease, the dispatcher finds its jobs where they were."""
    run = start_and_disconnect(harness)
    assert harness.step(3.0) == []
    harness.deliver(WorkersChanged({HERE}))
    harness.step(1.0)
    harness.answer()
    assert harness.step(REMOTE_LEASE_S - 5) == []
    harness.emit(Ended(run.token, Exited(0), duration_s=9.0))
    assert harness.step() == [run]
    assert run.outcome == Exited(0)


def test_a_request_to_an_agent_that_is_gone_starts_nothing(harness: ExecutorHarness) -> None:
    """Another process answers at the address: the jobs of the request are returned, what ran before is lost."""
    harness.open_slot()
    ran = harness.start()
    harness.step()
    harness.answer()
    harness.emit(SlotOpened("another"), harness.status(slots=2))
    harness.step()
    late = harness.start()
    harness.step()
    harness.deliver(Answered(*harness.transport.requests[-1], [None]))
    assert harness.step() == [late]
    assert isinstance(late.end, Unstarted)
    assert harness.step(REMOTE_LEASE_S) == [ran]
    assert isinstance(ran.outcome, Lost)


def test_events_for_another_dispatcher_are_ignored(harness: ExecutorHarness) -> None:
    """An agent of a previous dispatcher with our name gets none of our jobs."""
    harness.emit(SlotOpened("slot-1"), harness.status("old"), dispatcher_id="before")
    harness.step()
    assert harness.executor.agents == {}


def test_the_slots_of_a_lost_agent_are_requested_again(harness: ExecutorHarness) -> None:
    """There are as many slots as there is work for, not counting those of agents that are gone."""
    harness.open_slot()
    harness.start()
    harness.step()
    submitted = harness.transport.submitted
    harness.deliver(WorkersChanged(set()))
    harness.step()
    harness.executor.request_slots(1)
    assert harness.transport.submitted == submitted + 1
