"""An agent and its runners without dask: leases that expire, late requests, jobs without a slot."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.dask import channel, runner_client
from queuectl_nb.engine.dask.agent import Agent
from queuectl_nb.engine.dask.channel import Channel, decode, encode
from queuectl_nb.engine.dask.messages import (
    Ended,
    Event,
    LeaseRenewal,
    OutputRead,
    RecoveryQuery,
    Request,
    Response,
    RunJob,
    Running,
    SlotOpened,
    Unstarted,
)
from queuectl_nb.engine.dask.recovery import KEEP_S, create_folder, load_end, recover, remove_old_folders
from queuectl_nb.engine.dask.runner_client import RunnerClient, RunnerPool
from queuectl_nb.engine.heartbeat import boot_clock
from queuectl_nb.model.attempt import Lease
from queuectl_nb.model.outcome import Exited, Lost, Returned
from tests.engine.harness import alive, in_threads, read_pid, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuectl_nb.model.outcome import Outcome

LONG_LEASE_S = 60.0
LOWER_STACK = "import os, resource as r; r.prlimit(os.getppid(), r.RLIMIT_STACK, (1000, {}))"
SETTINGS = {"timeout": 0.0, "kill_grace": 0.2, "spool_limit": 10**9, "max_retries": 3}


class FakeDispatcher:
    """The dispatcher's side of one agent."""

    def __init__(self, folder: Path) -> None:
        self.received: list[Event] = []
        self.agent = Agent("dispatcher", self._receive, str(folder), str(folder / "queue.db"), "tcp://here:1")
        self.slots: list[threading.Thread] = []
        self.request_number = 0
        self.jobs = 0
        self.cwd = str(folder)

    def _receive(self, event: Event) -> None:
        self.received.append(over_the_wire(event))

    def open_slot(self) -> None:
        """Give the agent one more thread."""
        self.slots.append(threading.Thread(target=self.agent.run_slot, args=("slot",), daemon=True))
        self.slots[-1].start()
        until(lambda: len(self.events(SlotOpened)) == len(self.slots))

    def job(self, command: str) -> Lease:
        """Return a new job."""
        self.jobs += 1
        return Lease(
            1,
            "job-1",
            1,
            f"{self.jobs:032x}",
            command,
            self.cwd,
            "default",
            0,
            1,
            None,
            0.0,
            {},
            {},
            None,
            "command",
            None,
        )

    def send(
        self,
        *jobs: Lease,
        lease_s: float = LONG_LEASE_S,
        settings: dict[str, Any] = SETTINGS,
        number: int | None = None,
        **fields: Any,
    ) -> Response:
        """Send a request and return the response."""
        self.request_number = self.request_number + 1 if number is None else number
        renewal = LeaseRenewal(boot_clock() + lease_s, settings)
        request = Request(self.request_number, renewal, jobs=list(jobs), **fields)
        response: Response = over_the_wire(self.agent.handle_request(over_the_wire(request)))
        return response

    def events(self, *kinds: type, job: Lease | None = None) -> list[Any]:
        """Return the events of these kinds, of one job if given."""
        bodies = [each.body for each in list(self.received) if isinstance(each.body, kinds)]
        return [each for each in bodies if job is None or getattr(each, "token", None) == job.token]

    def end_of(self, job: Lease) -> Any:
        """Wait for the event that reports an attempt's end."""
        (end,) = until(lambda: self.events(Ended, Unstarted, job=job))
        return end

    def outcome_of(self, job: Lease) -> Outcome:
        """Wait for an attempt's end and return its outcome."""
        end = self.end_of(job)
        assert isinstance(end, Ended)
        return end.outcome

    def reset(self) -> FakeDispatcher:
        """Acknowledge everything and open a slot."""
        self.send(acknowledged=[each.token for each in self.events(Ended, Unstarted)])
        self.open_slot()
        return self


def over_the_wire(message: Any) -> Any:
    """Return a message as it arrives."""
    return decode(encode(message))


@pytest.fixture(scope="module")
def shared_dispatcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDispatcher]:
    """Return a dispatcher for the module; at the end all slots close and all runners exit."""
    others = set(psutil.Process().children())  # of other tests' servers
    found = FakeDispatcher(tmp_path_factory.mktemp("agent"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner_client, "RUNNER_IDLE_S", 1.0)
        yield found
        found.send(lease_s=-1.0)
        for slot in found.slots:
            slot.join(60)
        assert not any(slot.is_alive() for slot in found.slots)
        until(lambda: not set(psutil.Process().children()) - others)


@pytest.fixture
def dispatcher(shared_dispatcher: FakeDispatcher) -> FakeDispatcher:
    """Return a dispatcher with a new slot and nothing to acknowledge."""
    return shared_dispatcher.reset()


@pytest.fixture
def one_slot(shared_dispatcher: FakeDispatcher) -> FakeDispatcher:
    """Return a dispatcher with exactly one slot."""
    until(lambda: len(shared_dispatcher.events(type(None))) == len(shared_dispatcher.slots))
    return shared_dispatcher.reset()


def test_a_command_is_killed_when_the_lease_expires(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """When the dispatcher falls silent, a command ends within lease and grace without a message from anybody."""
    first = tmp_path / "pid"
    job = dispatcher.job(f"echo $$ > {first}; trap '' TERM; while :; do sleep 0.05; done")
    dispatcher.send(job)
    shell = read_pid(first)
    begun = boot_clock()
    dispatcher.send(lease_s=0.6)
    assert dispatcher.outcome_of(job) == Lost("its dispatcher", "did not renew the lease")
    assert 0.6 <= boot_clock() - begun < 0.6 + 0.2 + 5
    assert not alive(shell)


def test_a_runner_is_idle_during_the_grace_of_a_command(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """After the lease a runner waits for the end of the grace without using the CPU."""
    first = tmp_path / "pid"
    job = dispatcher.job(f"echo $$ > {first}; trap '' TERM; while :; do sleep 0.05; done")
    dispatcher.send(job)
    runner = psutil.Process(psutil.Process(read_pid(first)).ppid())
    dispatcher.send(lease_s=0.5, settings={**SETTINGS, "kill_grace": 5.0})  # shortened to two seconds
    before = sum(runner.cpu_times()[:2])
    assert isinstance(dispatcher.outcome_of(job), Lost)
    assert sum(runner.cpu_times()[:2]) - before < 1.0


def test_nothing_starts_after_the_lease(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """A request that arrives after the end of its lease starts nothing."""
    job = dispatcher.job(f"touch {tmp_path}/ran")
    dispatcher.send(job, lease_s=-1.0)
    assert isinstance(dispatcher.end_of(job), Unstarted)
    assert not (tmp_path / "ran").exists()


def test_requests_renew_the_lease(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """Each request renews the lease of running jobs."""
    go = tmp_path / "go"
    job = dispatcher.job(f"until [ -e {go} ]; do sleep 0.05; done")
    dispatcher.send(job, lease_s=4.0)
    begun = boot_clock()
    while boot_clock() < begun + 5:
        dispatcher.send(lease_s=4.0)
        threading.Event().wait(0.1)
    go.touch()
    assert dispatcher.outcome_of(job) == Exited(0)


def test_an_overtaken_request_is_ignored(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """After a later request an earlier one starts no job, since the dispatcher may count it as lost."""
    late, good = dispatcher.job(f"touch {tmp_path}/ran"), dispatcher.job("true")
    later = dispatcher.request_number + 5
    dispatcher.send(number=later)
    response = dispatcher.send(late, number=later - 1)
    assert response.attempts == []
    dispatcher.send(good, number=later + 1)
    assert dispatcher.outcome_of(good) == Exited(0)
    assert not (tmp_path / "ran").exists()


def test_jobs_without_a_slot_are_returned_unstarted(one_slot: FakeDispatcher) -> None:
    """An agent accepts as many jobs as it has slots and returns the others at once."""
    fits, other = one_slot.job("sleep 60"), one_slot.job("true")
    response = one_slot.send(fits, other)
    assert response.ended == [Unstarted(other.token, "no slot was free")]
    until(lambda: one_slot.events(Running, job=fits))
    one_slot.send(terminations={fits.token: 0.1})
    assert isinstance(one_slot.outcome_of(fits), Returned)


def test_prefetched_jobs_are_returned_when_the_running_one_takes_long(one_slot: FakeDispatcher) -> None:
    """A prefetched job does not wait behind one that runs for long."""
    long, ahead = one_slot.job("sleep 60"), one_slot.job("true")
    one_slot.send(long, ahead, prefetch=4)
    assert isinstance(one_slot.end_of(ahead), Unstarted)
    until(lambda: one_slot.events(Running, job=long))
    one_slot.send(terminations={long.token: 0.1})
    one_slot.end_of(long)


def test_termination_right_after_the_job(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """A job that the very next request terminates ends or never starts; it does not keep running."""
    for _ in range(10):
        job = dispatcher.job(f"sleep 60; touch {tmp_path}/ran")
        dispatcher.send(job)
        dispatcher.send(terminations={job.token: 0.1})
        end = dispatcher.end_of(job)
        assert isinstance(end, Unstarted) or isinstance(end.outcome, Returned)


def test_a_runner_that_does_not_read_blocks_nobody(dispatcher: FakeDispatcher) -> None:
    """A suspended runner delays its own job only; requests are answered as usual."""
    job = dispatcher.job("sleep 60")
    dispatcher.send(job)
    until(lambda: dispatcher.events(Running, job=job))
    runner = psutil.Process(dispatcher.events(Running, job=job)[0].pid).parent()
    assert runner is not None
    runner.suspend()
    client = dispatcher.agent._attempts[job.token].runner
    assert client is not None
    for _ in range(3000):  # more than the socket's buffer holds
        client.send(LeaseRenewal(boot_clock() + LONG_LEASE_S, {}))
    dispatcher.send()
    dispatcher.send(terminations={job.token: 0.1})
    runner.resume()
    until(lambda: dispatcher.send() and dispatcher.events(Ended, job=job))


def test_a_runner_that_does_not_read_its_job_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that can wait does not wait for a large one that is being sent."""
    monkeypatch.setattr(channel, "OFFER_TIMEOUT_S", 0.05)
    agent, runner = map(Channel, socket.socketpair())
    with in_threads(lambda: agent.send("x" * 10**7)):
        until(lambda: not agent.offer("y"))
        until(lambda: max(map(len, runner.receive() or ())) == 10**7)
    agent.close()
    runner.close()


def test_a_runner_that_its_job_stops_continues(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """A job that suspends its runner does not escape its end."""
    job = dispatcher.job(f"kill -STOP $PPID; echo $$ > {tmp_path}/pid; sleep 120")
    dispatcher.send(job)
    read_pid(tmp_path / "pid")
    dispatcher.send(terminations={job.token: 0.1})
    assert isinstance(dispatcher.outcome_of(job), Returned)


def test_a_runner_that_is_stopped_again_and_again_is_killed(
    dispatcher: FakeDispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a job is lost, with all of its processes, and does not occupy its slot for ever."""
    monkeypatch.setattr(runner_client, "MAX_STOPS", 1)
    monkeypatch.setattr(channel, "WAIT_INTERVAL_S", 0.05)
    job = dispatcher.job("while :; do kill -STOP $PPID; done")
    dispatcher.send(job)
    assert dispatcher.outcome_of(job) == Lost("its runner", "died", may_overlap=False)


def let_timer_fire(pool: RunnerPool) -> None:
    """Close the runners that have waited long enough now, and not after the time of an earlier test."""
    assert pool._timer is not None
    pool._timer.cancel()
    pool._close_idle()


def test_runners_wait_for_the_next_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner outlives its slot for a while, with its fork server; a dead one is replaced."""
    pool = RunnerPool(str(tmp_path / "agent"), str(tmp_path / "queue.db"), "mark")
    first = pool.take()
    pool.give(first)
    assert pool.take() is first
    pool.give(first)
    first._process.kill()
    first._process.wait(60)
    second = pool.take()
    assert second.returncode is None
    assert second.name != first.name
    monkeypatch.setattr(runner_client, "RUNNER_IDLE_S", 0.0)
    pool.give(second)
    let_timer_fire(pool)
    until(lambda: second.returncode is not None)


def test_slots_share_runners(dispatcher: FakeDispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is run by the runner of the job before it, whatever slot it is in."""
    dispatcher.open_slot()
    with monkeypatch.context() as patch:
        patch.setattr(runner_client, "RUNNER_IDLE_S", 60.0)
        ends = []
        for _ in range(3):
            job = dispatcher.job("echo $PPID")
            dispatcher.send(job)
            ends.append(dispatcher.end_of(job).output)
    last = dispatcher.job("echo $PPID")
    dispatcher.send(last)
    assert [*ends, dispatcher.end_of(last).output] == [ends[0]] * 4
    let_timer_fire(dispatcher.agent._runners)


def test_a_job_is_returned_if_no_runner_can_be_started(
    one_slot: FakeDispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no process can be started the job is returned unstarted, and its slot accepts others."""

    def fail(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", fail)
    refused = one_slot.job("true")
    one_slot.send(refused)
    reason = "no process could be started there: Resource temporarily unavailable"
    assert one_slot.end_of(refused) == Unstarted(refused.token, reason)
    monkeypatch.undo()
    good = one_slot.job("true")
    one_slot.send(good)
    assert one_slot.outcome_of(good) == Exited(0)
    assert one_slot.send().attempts == []


@pytest.mark.parametrize("nap", [0, 0.1])
@pytest.mark.parametrize("link", ["ln -s", "ln"])
def test_a_command_that_replaces_its_output_harms_nothing(
    one_slot: FakeDispatcher, tmp_path: Path, nap: float, link: str
) -> None:
    """A link in place of a command's output is neither read nor truncated; the next command has its own output."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    odd = one_slot.job(f"sleep {nap}; f=$(readlink /proc/$$/fd/1); rm -f $f; {link} {victim} $f")
    good = one_slot.job("echo hello")
    one_slot.send(odd)
    assert one_slot.outcome_of(odd) == Exited(0)
    one_slot.send(good)
    assert one_slot.end_of(good).output == {"stdout": (0, b"hello\n")}
    assert victim.read_text() == "precious"


def test_output_files_held_by_another_process_are_replaced(one_slot: FakeDispatcher) -> None:
    """A process outside of a command's tree that keeps its output open does not keep the next one from starting."""
    first, good = one_slot.job("true"), one_slot.job("echo hello")
    one_slot.send(first)
    one_slot.end_of(first)
    slots = list(Path(one_slot.agent.folder).glob("runner-*.stdout"))
    handles = [os.open(path, os.O_WRONLY) for path in slots]
    for handle in handles:
        fcntl.flock(handle, fcntl.LOCK_EX)
    one_slot.send(good)
    assert one_slot.end_of(good).output == {"stdout": (0, b"hello\n")}
    for handle in handles:
        os.close(handle)


def test_an_attempt_that_was_given_up_is_terminated(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """A dispatcher that acknowledges a running attempt has lost it; it must not run beside its retry."""
    first = tmp_path / "pid"
    job = dispatcher.job(f"echo $$ > {first}; trap '' TERM; while :; do sleep 0.05; done")
    dispatcher.send(job)
    shell = read_pid(first)
    dispatcher.send(acknowledged=[job.token])
    assert isinstance(dispatcher.outcome_of(job), Returned)
    assert not alive(shell)


def query(dispatcher: FakeDispatcher, *jobs: Lease, reads: Sequence[OutputRead] = ()) -> RecoveryQuery:
    """Return a question for what the agent left of these jobs."""
    return RecoveryQuery(dispatcher.agent.folder, heartbeat.boot_id(), [job.token for job in jobs], list(reads))


def test_an_end_stays_on_disk_until_it_is_acknowledged(tmp_path: Path) -> None:
    """Another process can recover the end of a command and its output; after the acknowledgement nothing is left."""
    dispatcher = FakeDispatcher(tmp_path)
    small, large = dispatcher.job("printf 'a\\377\\0'; exit 4"), dispatcher.job("head -c 300000 /dev/zero")
    ends = []
    for job in (small, large):
        dispatcher.open_slot()
        dispatcher.send(job)
        ends.append(dispatcher.end_of(job))
        dispatcher.slots[-1].join(60)
    reads = [OutputRead(large.token, "stdout", 100_000, 1_000_000)]
    found = over_the_wire(recover(over_the_wire(query(dispatcher, small, large, reads=reads)), 5.0))
    assert (found.gone, sorted(found.ended, key=repr)) == (True, sorted(ends, key=repr))
    assert ends[0].output == {"stdout": (0, b"a\xff\0")}
    assert [(chunk.offset, len(chunk.data)) for chunk in found.chunks] == [(100_000, 200_000)]
    dispatcher.send(acknowledged=[small.token, large.token])
    assert list(Path(dispatcher.agent.folder).iterdir()) == []


def test_an_end_survives_its_dask_worker(tmp_path: Path) -> None:
    """A command that finished of which the agent received no message is not lost."""
    dispatcher = FakeDispatcher(tmp_path)
    dispatcher.open_slot()
    first, go = tmp_path / "pid", tmp_path / "go"
    job = dispatcher.job(f"trap '' TERM; echo $$ > {first}; until [ -e {go} ]; do sleep 0.05; done; sleep 60 &")
    dispatcher.send(job, settings={**SETTINGS, "kill_grace": 5.0})
    runner = psutil.Process(psutil.Process(read_pid(first)).ppid())
    client = until(lambda: dispatcher.agent._attempts[job.token].runner)
    go.touch()
    until(lambda: not alive(int(first.read_text())))  # the runner now ends what is left in the background
    client.channel.socket.shutdown(2)
    assert dispatcher.outcome_of(job) == Exited(0)
    runner.wait(60)
    (end,) = recover(query(dispatcher, job), 5.0).ended
    assert end.outcome == Exited(0)


WHOLE_END = encode(Ended("token", Exited(0)))


@pytest.mark.parametrize(
    "raw", [b"", b"\0", b"\xff" * 9, WHOLE_END[:-1], WHOLE_END[:9], encode(Exited(0)), encode(Ended("t", Exited(0)))]
)
def test_an_incomplete_end_is_ignored(tmp_path: Path, raw: bytes) -> None:
    """What is left of an end after a crash of the machine is not read as one."""
    (tmp_path / "token.end").write_bytes(raw)
    assert load_end(f"{tmp_path}", "token") is None
    (tmp_path / "token.end").unlink()
    (tmp_path / "token.end").symlink_to("/dev/zero")
    assert load_end(f"{tmp_path}", "token") is None


def test_a_hidden_command_does_not_survive_its_runner(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """A command with an empty environment and no output is found by its session."""
    first = tmp_path / "pid"
    job = dispatcher.job(f"echo $$ > {first}; exec env -i sleep 60 > {tmp_path}/log 2>&1")
    dispatcher.send(job)
    shell = psutil.Process(read_pid(first))
    until(lambda: shell.name() == "sleep" and dispatcher.events(Running, job=job))
    runner = shell.parent()
    assert runner is not None
    runner.kill()
    assert dispatcher.outcome_of(job) == Lost("its runner", "died", may_overlap=False)
    assert not alive(shell.pid)


def test_old_folders_of_dead_agents_are_removed(tmp_path: Path) -> None:
    """The folder of an agent is removed long after its death, and never while it lives."""
    folders = {name: create_folder(f"{tmp_path}", name) for name in ("living", "recent", "dead")}
    for name, (folder, lock) in folders.items():
        if name != "living":
            os.close(lock)
        if name != "recent":
            os.utime(folder, (0, 0))
    remove_old_folders(f"{tmp_path}")
    assert {name for name, (folder, _) in folders.items() if Path(folder).exists()} == {"living", "recent"}
    os.close(folders["living"][1])


def test_a_removed_folder_is_created_again(one_slot: FakeDispatcher) -> None:
    """A command that removes the folder of its output does not keep later ones from starting."""
    odd, good = one_slot.job('rm -rf "$(dirname "$QUEUECTL_RESULT")"'), one_slot.job("echo hello")
    one_slot.send(odd)
    assert one_slot.outcome_of(odd) == Exited(0)
    one_slot.send(good)
    assert isinstance(one_slot.end_of(good), Unstarted)
    again = one_slot.job("echo hello")
    one_slot.send(again)
    assert one_slot.end_of(again).output == {"stdout": (0, b"hello\n")}


def test_the_files_of_an_abandoned_agent_are_removed(tmp_path: Path) -> None:
    """Output that no dispatcher will request any more does not stay on a dask worker's disk."""
    dispatcher = FakeDispatcher(tmp_path)
    dispatcher.open_slot()
    job = dispatcher.job("head -c 300000 /dev/zero")
    dispatcher.send(job)
    dispatcher.end_of(job)
    dispatcher.slots[0].join(60)
    assert list(Path(dispatcher.agent.folder).rglob("*.stdout"))
    assert not dispatcher.agent.abandoned
    dispatcher.send(lease_s=-KEEP_S)
    assert dispatcher.agent.abandoned
    dispatcher.agent.remove_files()
    assert not Path(dispatcher.agent.folder).exists()


def test_a_dask_worker_that_does_not_read_keeps_no_command_alive(
    dispatcher: FakeDispatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the dask worker is suspended its runner goes on: the command is killed when the lease expires."""
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # full after a few kilobytes
    monkeypatch.setattr(socket, "socketpair", lambda: (ours, theirs))
    first = tmp_path / "pid"
    job = dispatcher.job(f"echo $$ > {first}; while :; do head -c 1000 /dev/zero; sleep 0.02; done")
    client = RunnerClient(str(tmp_path / "runner"), "runner-1", str(tmp_path / "queue.db"), "mark")
    client.channel.send(RunJob(job, LeaseRenewal(boot_clock() + 3.0, SETTINGS)))
    try:
        shell = read_pid(first)
        until(lambda: not alive(shell))
    finally:
        client.close()
    assert client.returncode == 0


def test_ends_are_repeated_until_acknowledged(dispatcher: FakeDispatcher) -> None:
    """An end reported by an event is in every response, too, until the dispatcher acknowledges it."""
    job = dispatcher.job("echo hello")
    dispatcher.send(job)
    end = dispatcher.end_of(job)
    assert end.output == {"stdout": (0, b"hello\n")}
    for _ in range(2):
        assert dispatcher.send().ended == [end]
    assert dispatcher.send(acknowledged=[job.token]).ended == []


def test_an_agent_in_a_slurm_job_says_so(one_slot: FakeDispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host of an attempt names the node and the Slurm job that its dask worker runs in."""
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert one_slot.send().status.host == "node7 (SLURM_JOB_ID 4711)"
    monkeypatch.delenv("SLURMD_NODENAME")  # a shell of salloc on the login node
    assert one_slot.send().status.host == socket.gethostname()


def test_an_end_carries_all_small_output(dispatcher: FakeDispatcher) -> None:
    """Reports of a running command may be lost with the scheduler, so its end repeats the output."""
    job = dispatcher.job("echo one; sleep 0.3; echo two")
    dispatcher.send(job)
    assert dispatcher.end_of(job).output == {"stdout": (0, b"one\ntwo\n")}
    assert any(report.output for report in dispatcher.events(Running, job=job))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
def test_limits_of_a_runner_are_restored(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """The next command has the usual limits; a runner whose limits cannot be set back ends, and is replaced."""
    client = RunnerClient(str(tmp_path / "runner"), "runner-1", str(tmp_path / "queue.db"), "mark")

    def run(command: str) -> list[Any]:
        job = RunJob(dispatcher.job(command), LeaseRenewal(boot_clock() + LONG_LEASE_S, SETTINGS))
        return [each.output for each in client.run(job) if isinstance(each, Ended)]

    try:
        before = run("ulimit -s")
        run(f"exec {sys.executable} -c '{LOWER_STACK.format(resource.getrlimit(resource.RLIMIT_STACK)[1])}'")
        assert run("ulimit -s") == before != []
        run(f"exec {sys.executable} -c '{LOWER_STACK.format(1000)}'")
        assert run("ulimit -s") in (before, [])  # raising the upper limit takes privileges
    finally:
        client.close()


def test_large_output_is_read_in_chunks_and_then_removed(dispatcher: FakeDispatcher) -> None:
    """Output too large for an event stays in files until it was read, and no longer."""
    job = dispatcher.job("head -c 300000 /dev/zero")
    dispatcher.send(job)
    end = dispatcher.end_of(job)
    assert (end.sizes["stdout"], end.output) == (300_000, {})
    first = dispatcher.send(reads=[OutputRead(job.token, "stdout", 0, 200_000)]).chunks[0]
    second = dispatcher.send(reads=[OutputRead(job.token, "stdout", 200_000, 200_000)]).chunks[0]
    assert [len(first.data or b""), len(second.data or b"")] == [200_000, 100_000]
    dispatcher.send(acknowledged=[job.token])
    assert dispatcher.send(reads=[OutputRead(job.token, "stdout", 0, 10)]).chunks[0].data is None


def test_output_with_a_hole_is_read_without_it(dispatcher: FakeDispatcher) -> None:
    """What was discarded is not reported as bytes that the command never wrote."""
    job = dispatcher.job("head -c 4096 /dev/zero | tr '\\0' x; truncate -s 12288 /proc/$$/fd/1; echo end")
    dispatcher.send(job, settings={**SETTINGS, "output_limit": 0})
    assert dispatcher.end_of(job).output == {}
    reads = [OutputRead(job.token, "stdout", offset, 100_000) for offset in (0, 4096)]
    chunks = dispatcher.send(reads=reads).chunks
    assert [(chunk.offset, chunk.data) for chunk in chunks] == [(0, b"x" * 4096), (12288, b"end\n")]


def test_a_runner_without_an_agent_leaves_nothing(dispatcher: FakeDispatcher, tmp_path: Path) -> None:
    """When the channel closes, as it does when the agent's process dies, the runner kills its command."""
    first = tmp_path / "pid"
    job = dispatcher.job(f"echo $$ > {first}; setsid sleep 60 & sleep 60")
    dispatcher.send(job)
    shell = read_pid(first)
    runner = psutil.Process(psutil.Process(shell).ppid())
    tree = [runner, *runner.children(recursive=True)]
    client = dispatcher.agent._attempts[job.token].runner
    assert client is not None
    client.channel.socket.shutdown(2)
    assert isinstance(dispatcher.outcome_of(job), Lost)
    until(lambda: not any(alive(process.pid) for process in tree))
