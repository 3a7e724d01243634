"""The attempts that are away and the agents that have them: what each word from an agent means for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.engine.dask.agent_state import AHEAD, AgentState
from queuectl_nb.engine.dask.runner import LASTS
from queuectl_nb.model.outcome import Lost

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.channel import Message
    from queuectl_nb.engine.dask.remote_run import RemoteRun

__all__ = ["InFlight"]

READ = 1024 * 1024
"""Bytes of output asked for at once."""


class InFlight:
    """Posts and errands of one dispatcher."""

    def __init__(self) -> None:
        self.posts: dict[str, AgentState] = {}
        """The agents that are known, by id."""
        self.away: dict[str, AgentState] = {}
        """Where each attempt is, by token."""
        self.open: set[AgentState] = set()
        """The posts with room."""
        self.touched: set[AgentState] = set()
        """The posts to be looked at soon."""
        self._over: list[RemoteRun] = []
        self._lasting: list[RemoteRun] = []

    def news(self) -> tuple[list[RemoteRun], list[RemoteRun]]:
        """Return the attempts that are over since the last call, and those found to last."""
        over, self._over = self._over, []
        lasting, self._lasting = self._lasting, []
        return over, lasting

    # ------------------------------------------------------------------ posts

    def post(self, message: Message) -> AgentState | None:
        """Return the post that a word comes from; the first word of a new one is that somebody sits there."""
        found = self.posts.get(message["agent"])
        if found is None and message["what"] in ("seat", "left"):
            found = self.posts[message["agent"]] = AgentState(message["agent"], message["address"])
        return found

    def room(self) -> int:
        """Return how many jobs the agents can take."""
        return sum(post.room for post in self.open)

    def best(self) -> AgentState | None:
        """Return a post with an idle seat, else one whose jobs are short; None where none has room."""
        return next((each for each in self.open if each.idle > 0), None) or next(iter(self.open), None)

    def drop(self, post: AgentState) -> None:
        """Forget an agent that is gone and has nothing."""
        self.posts.pop(post.agent, None)
        self.open.discard(post)

    def put(self, post: AgentState, job: Message, errand: RemoteRun) -> None:
        """Let a job leave with the next letter there."""
        post.jobs.append(job)
        post.runs[errand.token] = errand
        self.away[errand.token] = post
        self.touch(post)

    def touch(self, post: AgentState) -> None:
        """Have the post looked at soon, and know whether it has room."""
        self.touched.add(post)
        if post.room and post.agent in self.posts:
            self.open.add(post)
        else:
            self.open.discard(post)

    # ------------------------------------------------------------------ attempts

    def lasts(self, post: AgentState, token: str, pid: int, age: float) -> None:
        """Take in that an attempt has been running for ``age`` seconds."""
        errand = post.runs.get(token)
        if errand is not None and errand.started_at is None:
            errand.lasts(pid, age, post.host)
            post.ahead = 0
            self._lasting.append(errand)

    def grew(self, post: AgentState, message: Message) -> None:
        """Take in what an attempt printed, or how much there is of it."""
        errand = post.runs.get(message["token"])
        if errand is not None and errand.exit is None:
            errand.take(message["stream"], message.get("offset", 0), message.get("data"), message["size"])
            self.ask_for_more(post, errand)

    def ended(self, post: AgentState, message: Message) -> None:
        """Take in the end of an attempt; what is not known any more was settled before."""
        token = message["token"]
        errand = post.runs.get(token)
        if errand is None:
            post.have.append(token)
        elif errand.exit is None:
            self.finish(post, token, message)
            if (errand.ran or LASTS) < LASTS:
                post.ahead = min(AHEAD, 2 * post.sitting, max(1, 2 * post.ahead))

    def finish(self, post: AgentState, token: str, message: Message) -> None:
        """End an attempt as the message says; it is over once all of its output is here."""
        errand = post.runs[token]
        errand.end(message)
        errand.host = post.host
        if errand.whole:
            self._close(post, errand)
        else:
            self.ask_for_more(post, errand)

    def ask_for_more(self, post: AgentState, errand: RemoteRun) -> None:
        """Ask for the next piece of output that is known to be there; an attempt that ended is over with its last."""
        for stream, have in errand.have.items():
            if have < errand.size[stream]:
                post.reads[errand.token, stream] = [have, READ]
        if errand.exit is not None and errand.whole:
            self._close(post, errand)

    def _close(self, post: AgentState, errand: RemoteRun) -> None:
        post.forget(errand.token)
        post.have.append(errand.token)
        self.away.pop(errand.token, None)
        self._over.append(errand)
        self.touch(post)

    def take_back(self, post: AgentState, why: str) -> None:
        """Let jobs that have not left yet start elsewhere."""
        jobs, post.jobs = post.jobs, []
        for job in jobs:
            self.finish(post, job["lease"]["token"], {"outcome": None, "why": why})
        self.touch(post)

    def compare(self, post: AgentState, letter: Message, there: Message) -> None:
        """Compare what an agent has with what was sent there up to the letter that it answers."""
        for token, facts in there.items():
            if facts is not None:
                self.lasts(post, token, *facts)
        for token in [token for token, seq in post.sent_with.items() if seq <= letter["seq"]]:
            if token not in there and token in post.runs and post.runs[token].exit is None:
                # it never arrived there, and would be refused now
                self.finish(post, token, {"outcome": None, "why": "it did not arrive"})

    def lose(self, post: AgentState, *, proven: bool) -> None:
        """Give up what an agent had; ``proven`` tells that somebody saw that nothing of it is left."""
        why = "died" if post.gone else "was not heard of"
        self.take_back(post, f"its dask worker {why}")
        post.doubt = True
        for errand in list(post.runs.values()):
            if errand.exit is None:
                errand.lose(Lost(f"dask worker {post.address}", why, not proven))
            else:
                errand.note = "the rest of its output was lost with its dask worker"
            self._close(post, errand)
