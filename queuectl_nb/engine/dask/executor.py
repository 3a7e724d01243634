"""Runs commands on dask's workers: many at a time, each sent to one agent, once.

A dask *task* is a seat and not a job: dask decides where seats are and how many, its priorities and resources count,
and a seat that it runs twice is only one seat more. A job goes to an agent in a letter when a seat is free. What became
of it is told by the agent. An agent that is not heard of ends its jobs when the lease has run out; so an attempt is
given up for lost when its end is proven, or that time is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat, process_tree
from queuectl_nb.engine.dask.in_flight import InFlight
from queuectl_nb.engine.dask.remote_run import RemoteRun
from queuectl_nb.engine.dask.slots import Slots
from queuectl_nb.engine.executor import LeaseLost, NoResources
from queuectl_nb.engine.remote_lease import boot_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from queuectl_nb.engine.dask.agent_state import AgentState
    from queuectl_nb.engine.dask.channel import Message
    from queuectl_nb.engine.dask.dispatch_journal import DispatchJournal
    from queuectl_nb.engine.dask.transport import ClusterTransport
    from queuectl_nb.engine.events import WorkerEvents
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.spool import Spool

__all__ = ["DaskExecutor"]

PAUSE = 0.5
"""Seconds until a letter that failed is followed by another."""
SCAN = 0.25
"""Seconds between looks at all agents; those of which something is heard or told are looked at at once."""
SLOW = 1.0
"""Seconds after which an agent that has not answered gets no more jobs until it does."""
PROVE = 1.0
"""Seconds between attempts to prove that what a lost agent ran is gone."""
PATIENCE = 1.0
"""Seconds that one such attempt takes at most."""


class DaskExecutor:
    """The executor of a dispatcher. Only the dispatcher's thread calls it."""

    def __init__(
        self, wire: ClusterTransport, spool: Spool, sent: DispatchJournal, events: WorkerEvents, *, most: int
    ) -> None:
        """Send at most ``most`` jobs at a time over ``wire``; ``sent`` keeps which left."""
        self.wire = wire
        self.spool = spool
        self.sent = sent
        self.events = events
        self.most = most
        self.handle = wire.handle
        self.field = InFlight()
        self.seats = Slots(wire)
        self._boot = heartbeat.boot_id()
        self._workers: set[str] = set()
        self._said: Settings | None = None
        self._connected = True
        self._scan_at = 0.0

    # ------------------------------------------------------------------ what the dispatcher asks

    @property
    def in_flight(self) -> int:
        """How many attempts are away."""
        return len(self.field.away)

    def room(self) -> int:
        """Return how many jobs may be started now."""
        return min(self.most - self.in_flight, self.field.room())

    def request_slots(self, jobs: int) -> None:
        """Let dask have as many seats for us as ``jobs``, those that run included, can use."""
        if self._connected:
            self.seats.want(min(jobs, self.most))

    def start(self, lease: Lease, settings: Settings, ours: Callable[[], bool]) -> RemoteRun:
        """Send a job to an agent with an idle seat, else to one whose jobs are short; call it while there is room.

        Raises
        ------
        LeaseLost, NoRoom
            Somebody else settled the attempt; it could not be written down that it leaves.
        """
        post = self.field.best()
        if post is None:
            raise NoResources("no seat is free")  # noqa: EM101
        if not ours():
            raise LeaseLost
        try:
            self.sent.add(lease.token)
        except OSError as error:
            raise NoResources(str(error)) from error
        errand = RemoteRun(lease, self.spool)
        facts = {**lease._asdict(), "env": dict(lease.env), "recorded_env": dict(lease.recorded_env)}
        self.field.put(post, {"lease": facts, "max_retries": settings.max_retries}, errand)
        return errand

    def end(self, errand: RemoteRun, grace: float) -> None:
        """Have an attempt ended: TERM to the whole tree, KILL after ``grace`` seconds."""
        post = self.field.away.get(errand.token)
        if post is not None:
            known = post.ends.get(errand.token)
            post.ends[errand.token] = grace if known is None else min(grace, known)
            self.field.touch(post)

    def poll(self) -> tuple[list[RemoteRun], list[RemoteRun]]:
        """Take in what was told and return the attempts that are over, and those found to last."""
        for kind, *facts in self.wire.take():
            getattr(self, f"_hear_{kind}")(*facts)
        return self.field.news()

    def maintain(self, settings: Settings) -> float:
        """Send what is due, give up what is lost; return the seconds until it wants to be called again."""
        now = boot_clock()
        changed = settings != self._said
        self._said = settings
        if changed or now >= self._scan_at:
            self._scan_at = now + SCAN
            posts = list(self.field.posts.values())
        else:
            posts = list(self.field.touched)
        self.field.touched.clear()
        for post in posts:
            self._tend(post, settings, now, changed=changed)
        times = [at for post in posts if (at := post.due_at(settings.lease)) is not None]
        return max(0.0, min(times, default=60.0) - now) if posts else SCAN

    def _tend(self, post: AgentState, settings: Settings, now: float, *, changed: bool) -> None:
        if self._connected and (post.due(now, settings.lease) or (changed and post.may_say)):
            letter = post.letter(settings, now=now, changed=changed)
            self.wire.send(post.address, post.agent, letter)
        elif changed:
            post.pass_on_at = 0.0
        silent = (post.out is not None or post.doubt or not self._connected) and now >= post.lapse_at
        if post.out is not None and not post.slow and now - post.sent_at >= SLOW:
            post.slow = True
            self.field.take_back(post, "its dask worker is slow to answer")
        if post.gone or silent:
            self.seats.leave(post.agent)
            if post.runs:
                self._give_up(post, now)
        if post.gone and not post.runs:
            self.field.drop(post)

    def acknowledge(self, open_tokens: Collection[str]) -> None:
        """Drop what is remembered of all attempts but these: they are recorded."""
        self.sent.compact(open_tokens)

    def close(self) -> None:
        """Hang up."""
        self.wire.close()

    # ------------------------------------------------------------------ what comes in

    def _hear_up(self, workers: set[str]) -> None:
        self._connected = True
        self._hear_workers(workers)
        for post in self.field.posts.values():
            post.again_at = 0.0
            self.field.touch(post)

    def _hear_down(self, why: str) -> None:
        self.events.warn(f"no connection to the dask scheduler ({why}); calling it again")
        self._connected = False
        self.seats.clear()
        for post in self.field.posts.values():
            self.field.take_back(post, "the scheduler is gone")
            if post.out is not None:
                post.failed(post.out, boot_clock(), 0.0)
            post.doubt = True
            self.field.touch(post)

    def _hear_workers(self, workers: set[str]) -> None:
        self._workers = workers
        for post in self.field.posts.values():
            if not post.gone and post.address not in workers:
                post.gone = True
                self.field.touch(post)

    def _hear_seat(self, name: str, error: str | None) -> None:
        if (why := self.seats.over(name, error)) is not None:
            self.events.warn(f"dask could not run a seat: {why}")

    def _hear_event(self, message: Message) -> None:
        if message["desk"] != self.wire.desk:
            return  # to one that had our name before
        post = self.field.post(message)
        if post is None:
            return
        post.hear(message)
        what = message["what"]
        if what == "seat":
            self.seats.took(message["seat"], post.agent)
        elif what == "lasts":
            self.field.lasts(post, message["token"], message["pid"], message["age"])
        elif what == "grew":
            self.field.grew(post, message)
        elif what == "ended":
            self.field.ended(post, message)
        elif what == "look":
            post.sent_at = float("-inf")
        self.field.touch(post)

    def _hear_answer(self, agent: str, letter: Message, answer: Message | Exception | None) -> None:
        post = self.field.posts.get(agent)
        if post is None:
            return
        self._take_answer(post, letter, answer)
        self.field.touch(post)

    def _take_answer(self, post: AgentState, letter: Message, answer: Message | Exception | None) -> None:
        if isinstance(answer, Exception):
            post.failed(letter, boot_clock(), PAUSE)
            return
        post.answered(letter)
        if answer is None:
            post.gone = True  # another process has its address now, and what the letter brought never began
            for token in [token for token, seq in post.sent_with.items() if seq == letter["seq"]]:
                self.field.finish(post, token, {"outcome": None, "why": "its dask worker had gone"})
            return
        post.hear(answer)
        for message in answer["ended"]:
            self.field.ended(post, message)
        for token, stream, offset, data in answer["pieces"]:
            if (errand := post.runs.get(token)) is not None:
                errand.piece(stream, offset, data)
                self.field.ask_for_more(post, errand)
        self.field.compare(post, letter, answer["there"])

    def _hear_swept(self, agent: str, gone: bool) -> None:
        post = self.field.posts.get(agent)
        if post is not None and gone:
            self.field.lose(post, proven=True)

    def _give_up(self, post: AgentState, now: float) -> None:
        """Prove that what a lost agent ran is gone, or wait until it must be; then its attempts are lost."""
        tokens = [*post.runs, post.agent]
        if now >= post.prove_at:
            post.prove_at = now + PROVE
            if post.boot == self._boot:
                find = lambda: process_tree.holders(tokens, [])  # noqa: E731
                if process_tree.kill_until_gone(find, PATIENCE, lambda: None):
                    self.field.lose(post, proven=True)
                    return
            elif peers := [other for other in self._workers if other != post.address and _near(other, post.address)]:
                self.wire.sweep(peers, post.agent, post.boot, tokens)
        if now >= post.lapse_at:
            self.field.lose(post, proven=False)


def _near(one: str, other: str) -> bool:
    """Tell whether two addresses are of one host."""
    return one.rpartition(":")[0] == other.rpartition(":")[0]
