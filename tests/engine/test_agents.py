"""An agent and its guards without any dask: leases that run out, letters that come late, jobs that find no seat."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from queuectl_nb.engine.dask.agent import FORGOTTEN, Agent
from queuectl_nb.engine.dask.runner_pool import RunnerClient
from queuectl_nb.engine.remote_lease import boot_clock
from queuectl_nb.model.attempt import Lease
from tests.engine.harness import alive, read_pid, until

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 60.0
Facts = dict[str, Any]


class FakeDispatcher:
    """The dispatcher's side of one agent, by hand."""

    def __init__(self, folder: Path) -> None:
        self.told: list[Facts] = []
        self.agent = Agent("desk", self.told.append, str(folder), str(folder / "queue.db"), "tcp://here:1")
        self.seats: list[threading.Thread] = []
        self.seq = 0
        self.jobs = 0
        self.cwd = str(folder)

    def sit(self) -> None:
        """Give the agent one more thread."""
        self.seats.append(threading.Thread(target=self.agent.sit, args=("seat",), daemon=True))
        self.seats[-1].start()
        until(lambda: len(self.events("seat")) == len(self.seats))

    def job(self, command: str) -> Facts:
        """Return a job as a letter carries it."""
        self.jobs += 1
        token = f"{self.jobs:032x}"
        lease = Lease(1, "job-1", 1, token, command, self.cwd, "default", 0, 1, None, 0.0, {}, {})
        return {"lease": {**lease._asdict(), "env": {}, "recorded_env": {}}, "max_retries": 3}

    def send(self, *jobs: Facts, lease: float = LONG, seq: int | None = None, **more: Any) -> Facts:
        """Send a letter and return the answer."""
        self.seq = self.seq + 1 if seq is None else seq
        heed = {"until": boot_clock() + lease, "settings": {"timeout": 0.0, "kill_grace": 0.2, "spool_limit": 10**9}}
        base: Facts = {"seq": self.seq, "heed": heed, "pass_on": True, "jobs": list(jobs), "ahead": 0}
        return self.agent.take({**base, "ends": [], "reads": [], "have": [], **more})

    def events(self, what: str, job: Facts | None = None) -> list[Facts]:
        """Return what was told of a kind, of one job where it is given."""
        found = [each for each in list(self.told) if each["what"] == what]
        return [each for each in found if job is None or each["token"] == token_of(job)]

    def end_of(self, job: Facts) -> Facts:
        """Wait for an attempt's end and return it; let the agent forget it."""
        (end,) = until(lambda: self.events("ended", job))
        return end


def token_of(job: Facts) -> str:
    """Return the token of a job's attempt."""
    token: str = job["lease"]["token"]
    return token


@pytest.fixture(scope="module")
def agency(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDispatcher]:
    """Return a desk for the module; its seats have left at the end, and their guards with them."""
    others = set(psutil.Process().children())  # of other tests' servers
    found = FakeDispatcher(tmp_path_factory.mktemp("agency"))
    yield found
    found.send(lease=-1.0)
    for seat in found.seats:
        seat.join(20)
    assert not any(seat.is_alive() for seat in found.seats)
    until(lambda: not set(psutil.Process().children()) - others)


@pytest.fixture
def desk(agency: FakeDispatcher) -> FakeDispatcher:
    """Return the desk with a fresh seat and nothing to say."""
    agency.send(have=[each["token"] for each in agency.events("ended")])
    agency.sit()
    return agency


@pytest.fixture
def small_desk(agency: FakeDispatcher) -> FakeDispatcher:
    """Return the desk with one seat, no more."""
    until(lambda: len(agency.events("left")) == len(agency.seats))
    agency.send(have=[each["token"] for each in agency.events("ended")])
    agency.sit()
    return agency


def test_a_command_ends_when_the_lease_runs_out(desk: FakeDispatcher, tmp_path: Path) -> None:
    """Where the dispatcher falls silent, its command is ended within lease and grace, without a word from anybody."""
    first = tmp_path / "pid"
    begun = boot_clock()
    job = desk.job(f"echo $$ > {first}; trap '' TERM; while :; do sleep 0.05; done")
    desk.send(job, lease=0.6)
    shell = read_pid(first)
    assert desk.end_of(job)["outcome"][0] == "Returned"
    assert 0.6 <= boot_clock() - begun < 0.6 + 0.2 + 5
    assert not alive(shell)


def test_a_guard_is_at_rest_while_a_command_takes_its_grace(desk: FakeDispatcher, tmp_path: Path) -> None:
    """After the lease a guard waits for the end of the grace, and takes no core for it."""
    first = tmp_path / "pid"
    job = desk.job(f"echo $$ > {first}; trap '' TERM; while :; do sleep 0.05; done")
    settings = {"timeout": 0.0, "kill_grace": 5.0, "spool_limit": 10**9}  # two seconds are left of it
    desk.send(job, heed={"until": boot_clock() + 0.5, "settings": settings})
    guard = psutil.Process(psutil.Process(read_pid(first)).ppid())
    before = sum(guard.cpu_times()[:2])
    assert desk.end_of(job)["outcome"][0] == "Returned"
    assert sum(guard.cpu_times()[:2]) - before < 1.0


def test_nothing_starts_after_the_lease(desk: FakeDispatcher, tmp_path: Path) -> None:
    """A letter that was under way until its word had run out starts nothing."""
    job = desk.job(f"touch {tmp_path}/ran")
    desk.send(job, lease=-1.0)
    assert desk.end_of(job)["outcome"] is None
    assert not (tmp_path / "ran").exists()


def test_a_renewed_lease_holds(desk: FakeDispatcher, tmp_path: Path) -> None:
    """Each letter renews the lease of what runs already."""
    go = tmp_path / "go"
    job = desk.job(f"until [ -e {go} ]; do sleep 0.05; done")
    desk.send(job, lease=1.5)
    begun = boot_clock()
    while boot_clock() < begun + 2:
        desk.send(lease=1.5)
        threading.Event().wait(0.1)
    go.touch()
    assert desk.end_of(job)["outcome"] == ["Exited", [0]]


def test_a_letter_that_was_overtaken_counts_for_nothing(desk: FakeDispatcher, tmp_path: Path) -> None:
    """After a later letter an earlier one starts no job: its sender may have taken it for lost."""
    late, good = desk.job(f"touch {tmp_path}/ran"), desk.job("true")
    later = desk.seq + 5
    desk.send(seq=later)
    answer = desk.send(late, seq=later - 1)
    assert answer["there"] == {}
    desk.send(good, seq=later + 1)
    assert desk.end_of(good)["outcome"] == ["Exited", [0]]
    assert not (tmp_path / "ran").exists()


def test_jobs_without_a_seat_go_back_unstarted(small_desk: FakeDispatcher) -> None:
    """An agent takes as many as it has seats; the others go back at once and are not started."""
    fits, other = small_desk.job("sleep 60"), small_desk.job("true")
    answer = small_desk.send(fits, other)
    assert [(each["token"], each["outcome"]) for each in answer["ended"]] == [(token_of(other), None)]
    until(lambda: small_desk.events("lasts", fits))
    small_desk.send(ends=[(token_of(fits), 0.1)])
    assert small_desk.end_of(fits)["outcome"][0] == "Returned"


def test_jobs_ahead_go_back_when_the_running_one_lasts(small_desk: FakeDispatcher) -> None:
    """A job that was sent ahead does not wait behind one that lasts."""
    lasts, ahead = small_desk.job("sleep 60"), small_desk.job("true")
    small_desk.send(lasts, ahead, ahead=4)
    assert small_desk.end_of(ahead)["outcome"] is None
    until(lambda: small_desk.events("lasts", lasts))
    small_desk.send(ends=[(token_of(lasts), 0.1)])
    small_desk.end_of(lasts)


def test_an_end_right_behind_its_job(desk: FakeDispatcher, tmp_path: Path) -> None:
    """A job that is wanted back in the very next letter ends, or never starts; it does not run on."""
    for _ in range(10):
        job = desk.job(f"sleep 60; touch {tmp_path}/ran")
        desk.send(job)
        desk.send(ends=[(token_of(job), 0.1)])
        end = desk.end_of(job)
        assert end["outcome"] is None or end["outcome"][0] == "Returned"


def test_a_guard_that_does_not_read_holds_nobody_up(desk: FakeDispatcher) -> None:
    """A guard that stands still costs its own job; letters are taken and answered as ever."""
    job = desk.job("sleep 60")
    desk.send(job)
    until(lambda: desk.events("lasts", job))
    guard = psutil.Process(desk.events("lasts", job)[0]["pid"]).parent()
    assert guard is not None
    guard.suspend()
    handle = desk.agent._busy[token_of(job)]
    assert handle is not None
    for _ in range(3000):  # more than the socket between them holds
        handle.tell({"what": "heed", "until": boot_clock() + LONG, "settings": {}})
    desk.send()
    desk.send(ends=[(token_of(job), 0.1)])
    guard.resume()
    until(lambda: desk.send() and desk.events("ended", job))


def test_a_job_for_which_no_guard_can_be_started_goes_back(
    small_desk: FakeDispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the machine has no room for one more process the job was not started, and its seat takes others."""

    def full(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    small_desk.agent.guards.close_idle()
    monkeypatch.setattr(subprocess, "Popen", full)
    refused = small_desk.job("true")
    small_desk.send(refused)
    end = small_desk.end_of(refused)
    assert (end["outcome"], end["why"]) == (None, "no process could be started there: Resource temporarily unavailable")
    monkeypatch.undo()
    good = small_desk.job("true")
    small_desk.send(good)
    assert small_desk.end_of(good)["outcome"] == ["Exited", [0]]
    assert small_desk.send()["there"] == {}


@pytest.mark.parametrize("nap", [0, 0.1])
@pytest.mark.parametrize("link", ["ln -s", "ln"])
def test_a_command_that_replaces_its_output_hurts_nobody(
    small_desk: FakeDispatcher, tmp_path: Path, nap: float, link: str
) -> None:
    """A link in the place of a command's output is neither read nor emptied; the next command has its own output."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    odd = small_desk.job(f"sleep {nap}; f=$(readlink /proc/$$/fd/1); rm -f $f; {link} {victim} $f")
    good = small_desk.job("echo hello")
    small_desk.send(odd)
    assert small_desk.end_of(odd)["outcome"] == ["Exited", [0]]
    small_desk.send(good)
    assert small_desk.end_of(good)["rest"] == {"stdout": [0, b"hello\n"]}
    assert victim.read_text() == "precious"


def test_what_a_forgotten_agent_kept_goes_with_it(tmp_path: Path) -> None:
    """Output that no dispatcher will ask for any more does not stay on a dask worker's disk."""
    desk = FakeDispatcher(tmp_path)
    desk.sit()
    job = desk.job("head -c 300000 /dev/zero")
    desk.send(job)
    desk.end_of(job)
    desk.seats[0].join(20)
    assert list(Path(desk.agent.folder).rglob("*.stdout"))
    assert not desk.agent.forgotten
    desk.agent._order["until"] = boot_clock() - FORGOTTEN
    assert desk.agent.forgotten
    desk.agent.dismiss()
    assert not Path(desk.agent.folder).exists()


def test_a_dask_worker_that_does_not_read_keeps_no_command_alive(
    desk: FakeDispatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the dask worker stands still, its guard goes on: the command ends when the lease runs out."""
    ours, its = socket.socketpair()
    its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # full after a few kilobytes
    monkeypatch.setattr(socket, "socketpair", lambda: (ours, its))
    first = tmp_path / "pid"
    job = desk.job(f"echo $$ > {first}; while :; do head -c 1000 /dev/zero; sleep 0.02; done")
    settings = {"timeout": 0.0, "kill_grace": 0.2, "spool_limit": 10**9}
    guard = RunnerClient(str(tmp_path / "guard"), str(tmp_path / "queue.db"), "mark")
    guard.link.send({**job, "what": "run", "until": boot_clock() + 3.0, "settings": settings})
    try:
        shell = read_pid(first)
        until(lambda: not alive(shell))
    finally:
        guard.close()
    assert guard.process.returncode == 0


def test_ends_are_repeated_until_taken(desk: FakeDispatcher) -> None:
    """What an event told is in every answer, too, until the dispatcher says that it has it."""
    job = desk.job("echo hello")
    desk.send(job)
    desk.end_of(job)
    for _ in range(2):
        (again,) = desk.send()["ended"]
        assert again["rest"] == {"stdout": [0, b"hello\n"]}
    assert desk.send(have=[token_of(job)])["ended"] == []


def test_large_output_is_fetched_in_pieces_and_then_forgotten(desk: FakeDispatcher) -> None:
    """What is too much for an event stays in files until it was read, and no longer."""
    job = desk.job("head -c 300000 /dev/zero")
    desk.send(job)
    end = desk.end_of(job)
    assert (end["sizes"]["stdout"], end["rest"]) == (300_000, {})
    first = desk.send(reads=[[token_of(job), "stdout", 0, 200_000]])["pieces"][0]
    second = desk.send(reads=[[token_of(job), "stdout", 200_000, 200_000]])["pieces"][0]
    assert [len(first[3]), len(second[3])] == [200_000, 100_000]
    desk.send(have=[token_of(job)])
    gone = desk.send(reads=[[token_of(job), "stdout", 0, 10]])["pieces"][0]
    assert gone[3] is None


def test_a_guard_without_an_agent_leaves_nothing(desk: FakeDispatcher, tmp_path: Path) -> None:
    """When the agent's end of the line closes, as it does when its process dies, the guard ends what it runs."""
    first = tmp_path / "pid"
    job = desk.job(f"echo $$ > {first}; setsid sleep 60 & sleep 60")
    desk.send(job)
    shell = read_pid(first)
    guard = psutil.Process(psutil.Process(shell).ppid())
    tree = [guard, *guard.children(recursive=True)]
    handle = desk.agent._busy[token_of(job)]
    assert handle is not None
    handle.link.socket.shutdown(2)
    assert desk.end_of(job)["outcome"][0] == "Lost"
    until(lambda: not any(alive(process.pid) for process in tree))
