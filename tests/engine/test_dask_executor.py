"""What a dispatcher makes of silence: when an attempt is lost, when it may overlap, when it never left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.engine.dask import agent_state, executor, slots
from queuectl_nb.engine.dask.dispatch_journal import DispatchJournal, read_dispatched
from queuectl_nb.engine.dask.executor import DaskExecutor
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.model.attempt import Lease
from queuectl_nb.model.outcome import Exited, Lost
from queuectl_nb.model.settings import Settings
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.engine.dask.remote_run import RemoteRun

SETTINGS = Settings.from_stored({"lease": "10", "kill_grace": "5"})
LAPSE = 10 + 2 + 1
"""Lease, the short grace of an abandoned command, a margin."""
HERE, THERE = "tcp://10.0.0.1:1", "tcp://10.0.0.2:1"


class FakeWire:
    """Takes words and delivers what the test says."""

    handle = -1
    desk = "desk"

    def __init__(self) -> None:
        self.inbox: list[tuple[Any, ...]] = []
        self.letters: list[tuple[str, str, dict[str, Any]]] = []
        self.swept: list[tuple[list[str], str]] = []
        self.asked = 0

    def take(self) -> list[tuple[Any, ...]]:
        found, self.inbox = self.inbox, []
        return found

    def seat(self, count: int) -> list[str]:
        self.asked += count
        return [f"seat-{self.asked - n}" for n in range(count)]

    def unseat(self, names: list[str]) -> None:
        self.asked -= len(names)

    def send(self, address: str, agent: str, letter: dict[str, Any]) -> None:
        self.letters.append((address, agent, letter))

    def sweep(self, addresses: list[str], agent: str, boot: str, tokens: list[str]) -> None:
        del boot, tokens
        self.swept.append((addresses, agent))


class Stage:
    """A crew on a fake wire, with a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.wire = FakeWire()
        self.sent = DispatchJournal(folder, "worker-1")
        self.crew = DaskExecutor(self.wire, Spool(folder), self.sent, WorkerEvents(Events(None), "worker-1"), most=10)  # type: ignore[arg-type]
        self.folder = folder
        self.tokens = 0
        self.number = 0

    def word(self, what: str, agent: str = "a", address: str = HERE, *, sitting: int = 1, **facts: Any) -> None:
        """Let an agent say something."""
        self.number += 1
        base = {
            "what": what,
            "desk": "desk",
            "agent": agent,
            "address": address,
            "number": self.number,
            "sitting": sitting,
        }
        self.wire.inbox.append(("event", {**base, "clock": self.now + 7, "boot": f"boot of {address}", **facts}))

    def seat(self, agent: str = "a", address: str = HERE) -> None:
        """Let an agent take a seat."""
        self.crew.request_slots(len(self.crew.seats.given) + 1)
        name = next(name for name, given in self.crew.seats.given.items() if not given)
        self.word("seat", agent, address, seat=name, host="far")
        self.crew.poll()

    def start(self) -> RemoteRun:
        """Send a job."""
        self.tokens += 1
        token = f"{self.tokens:032x}"
        lease = Lease(self.tokens, f"job-{self.tokens}", 1, token, "true", "/", "default", 0, 1, None, None, {}, {})
        return self.crew.start(lease, SETTINGS, lambda: True)

    def answer(self, what: Any = "there") -> None:
        """Answer the last letter: all that was sent is there, or the given answer."""
        _, agent, letter = self.wire.letters[-1]
        if what == "there":
            self.number += 1
            there = {job["lease"]["token"]: None for _, _, each in self.wire.letters for job in each["jobs"]}
            what = {"agent": agent, "number": self.number, "sitting": 1, "clock": self.now + 7}
            what |= {"there": there, "ended": [], "pieces": []}
        self.wire.inbox.append(("answer", agent, letter, what))

    def step(self, seconds: float = 0.0) -> list[RemoteRun]:
        """Let time pass; return what is over."""
        self.now += seconds
        over, _ = self.crew.poll()
        self.crew.maintain(SETTINGS)
        return over + self.crew.poll()[0]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Return a stage whose clock stands still until the test moves it."""
    found = Stage(tmp_path)
    for room in (executor, agent_state, slots):
        monkeypatch.setattr(room, "boot_clock", lambda: found.now)
    return found


def outcome(errand: RemoteRun) -> object:
    """Return how an attempt ended."""
    assert errand.exit is not None
    return errand.exit.outcome


def test_a_letter_carries_the_lease_in_the_agents_own_time(stage: Stage) -> None:
    """Our word holds until a moment of the agent's clock, so that a letter that was delayed renews nothing."""
    stage.seat()
    stage.start()
    stage.step()
    (_, _, letter) = stage.wire.letters[0]
    assert letter["heed"]["until"] == pytest.approx(stage.now + 7 + 10)
    assert [job["lease"]["job_id"] for job in letter["jobs"]] == ["job-1"]


def test_what_leaves_is_written_down_first(stage: Stage) -> None:
    """Before the letter goes, the token stands where a rescuer finds it."""
    stage.seat()
    errand = stage.start()
    assert stage.wire.letters == []
    assert read_dispatched(stage.folder, "worker-1") == {errand.token}


def test_a_silent_agent_is_given_up_when_its_lease_is_over_and_not_before(stage: Stage) -> None:
    """No answer: the attempt is lost after lease, grace and margin; it may overlap, since nobody saw it end."""
    stage.seat()
    errand = stage.start()
    stage.step()
    assert stage.step(LAPSE - 0.1) == []
    assert stage.step(0.2) == [errand]
    assert outcome(errand) == Lost(f"dask worker {HERE}", "was not heard of", may_overlap=True)
    assert "may_overlap" in str(errand.outcome.error)


def test_answers_renew_the_lease(stage: Stage) -> None:
    """While letters are answered nothing is given up, however long a job runs."""
    stage.seat()
    stage.start()
    stage.step()
    for _ in range(20):
        stage.answer()
        assert stage.step(2.6) == []
    assert len(stage.wire.letters) >= 15


def test_letters_that_fail_renew_nothing(stage: Stage) -> None:
    """An agent that cannot be reached is tried again, and its attempts are given up in time all the same."""
    stage.seat()
    errand = stage.start()
    stage.step()
    stage.answer()
    stage.step(2.6)
    sent = stage.now
    over: list[RemoteRun] = []
    while not over:
        stage.answer(OSError("unreachable"))
        over = stage.step(0.6)
        assert stage.now < sent + LAPSE + 2
    assert over == [errand]
    assert stage.now >= sent + LAPSE - 0.1


def test_a_late_end_counts_for_nothing(stage: Stage) -> None:
    """What an agent says of an attempt that was given up is taken note of, and that is all."""
    stage.seat()
    errand = stage.start()
    stage.step()
    stage.step(LAPSE + 1)
    stage.word("ended", token=errand.token, outcome=["Exited", [0]], sizes={}, rest={})
    assert stage.step() == []
    assert isinstance(outcome(errand), Lost)


def test_an_end_that_was_told_counts_although_the_agent_is_gone(stage: Stage) -> None:
    """A dask worker that told how a job ended before it died has not lost it."""
    stage.seat()
    errand = stage.start()
    stage.step()
    stage.word("ended", token=errand.token, outcome=["Exited", [0]], sizes={}, rest={}, ran=0.1)
    stage.wire.inbox.append(("workers", set()))
    assert stage.step() == [errand]
    assert outcome(errand) == Exited(0)


def test_a_job_that_did_not_arrive_goes_back_for_nothing(stage: Stage) -> None:
    """A letter failed and a later one was answered without the job: it never began, and never will."""
    stage.seat()
    errand = stage.start()
    stage.step()
    stage.answer(OSError("reset"))
    assert stage.step() == []
    assert stage.step(0.6) == []
    assert stage.wire.letters[-1][2]["jobs"] == []
    answer = {"agent": "a", "number": 99, "sitting": 1, "clock": stage.now + 7, "there": {}, "ended": [], "pieces": []}
    stage.answer(answer)
    assert stage.step() == [errand]
    assert errand.unstarted


def test_a_dead_worker_is_looked_after_by_its_neighbours(stage: Stage) -> None:
    """Another dask worker of the same host proves that nothing is left: then the attempt is lost at once."""
    stage.seat()
    errand = stage.start()
    stage.step()
    neighbour = "tcp://10.0.0.1:2"
    stage.wire.inbox.append(("workers", {neighbour, THERE}))
    assert stage.step(1.0) == []
    assert stage.wire.swept == [([neighbour], "a")]
    stage.wire.inbox.append(("swept", "a", False))
    assert stage.step(0.5) == []
    stage.wire.inbox.append(("swept", "a", True))
    assert stage.step() == [errand]
    assert outcome(errand) == Lost(f"dask worker {HERE}", "died", may_overlap=False)


def test_jobs_that_wait_for_a_scheduler_go_back(stage: Stage) -> None:
    """When the scheduler is lost, what had not left goes back; what had is waited for until its lease is over."""
    stage.seat()
    away = stage.start()
    stage.step()
    stage.seat("b", THERE)
    waiting = stage.start()
    stage.wire.inbox.append(("down", "closed"))
    assert stage.step() == [waiting]
    assert waiting.unstarted
    assert stage.crew.room() == 0
    assert stage.step(LAPSE) == [away]
    assert outcome(away) == Lost(f"dask worker {HERE}", "was not heard of", may_overlap=True)


def test_jobs_survive_a_short_loss_of_the_scheduler(stage: Stage) -> None:
    """Connected again within the lease, the dispatcher finds its jobs where they were."""
    stage.seat()
    errand = stage.start()
    stage.step()
    stage.answer()
    stage.step()
    stage.wire.inbox.append(("down", "closed"))
    assert stage.step(3.0) == []
    stage.wire.inbox.append(("up", {HERE}))
    stage.step(1.0)
    stage.answer()
    assert stage.step(LAPSE - 5) == []
    stage.word("ended", token=errand.token, outcome=["Exited", [0]], sizes={}, rest={}, ran=9.0)
    assert stage.step() == [errand]
    assert outcome(errand) == Exited(0)


def test_a_letter_to_nobody_brought_nothing(stage: Stage) -> None:
    """Another process answers at the address: what the letter brought goes back, what ran there before is lost."""
    stage.seat()
    ran = stage.start()
    stage.step()
    stage.answer()
    stage.word("seat", sitting=2, seat="another")
    stage.step()
    late = stage.start()
    stage.step()
    stage.answer(None)
    assert stage.step() == [late]
    assert late.unstarted
    assert stage.step(LAPSE) == [ran]
    assert isinstance(outcome(ran), Lost)


def test_words_to_another_dispatcher_are_not_ours(stage: Stage) -> None:
    """An agent of a dispatcher that had our name before gets none of our jobs."""
    stage.word("seat", "old", desk="before", seat="seat-1")
    stage.step()
    assert stage.crew.field.posts == {}


def test_seats_of_a_lost_agent_are_asked_for_again(stage: Stage) -> None:
    """As many seats as there is work for, not counting those of agents that are gone."""
    stage.seat()
    stage.start()
    stage.step()
    asked = stage.wire.asked
    stage.wire.inbox.append(("workers", set()))
    stage.step()
    stage.crew.request_slots(1)
    assert stage.wire.asked == asked + 1
