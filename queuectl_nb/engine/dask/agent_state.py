"""What a dispatcher knows of one agent: its seats, what it holds, and until when its word there holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.remote_lease import boot_clock, remote_lease_s

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.channel import Message
    from queuectl_nb.engine.dask.remote_run import RemoteRun
    from queuectl_nb.model.settings import Settings

__all__ = ["AHEAD", "AgentState"]

AHEAD = 16
"""Most jobs that wait in an agent for a seat whose jobs are short."""


@dataclass(eq=False)
class AgentState:
    """One agent. Times are seconds of this host's :func:`~queuectl_nb.engine.remote_lease.steady` unless said."""

    agent: str
    address: str
    boot: str = ""
    host: str = ""
    sitting: int = 0
    number: int = 0
    """Of the latest word from it that counts."""
    runs: dict[str, RemoteRun] = field(default_factory=dict)
    """What was sent there and has not ended, by token."""
    sent_with: dict[str, int] = field(default_factory=dict)
    """The number of the letter that each of these left with."""
    ahead: int = 0
    offset: float = float("-inf")
    """How far its clock is ahead of ours, at the least."""
    seq: int = 0
    out: Message | None = None
    """The letter that is under way."""
    doubt: bool = False
    """Whether the last letter failed: until one is answered our word there is not renewed, and no job is sent."""
    slow: bool = False
    """Whether the letter that is under way takes long: until it is answered no job is sent."""
    sent_at: float = float("-inf")
    until: float = float("-inf")
    """Until when our word there holds at the most."""
    pass_on_at: float = 0.0
    again_at: float = 0.0
    lapse_at: float = 0.0
    """When nothing that was sent there can run any more, if no word of ours reaches it."""
    gone: bool = False
    """Whether the scheduler or the dask worker itself says that it is not there any more."""
    prove_at: float = 0.0
    jobs: list[Message] = field(default_factory=list)
    ends: dict[str, float] = field(default_factory=dict)
    reads: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    have: list[str] = field(default_factory=list)

    @property
    def idle(self) -> int:
        """How many seats have no job, as far as known; below zero where jobs wait for a seat."""
        return self.sitting - len(self.runs)

    @property
    def room(self) -> int:
        """How many more jobs may be sent there."""
        if self.gone or self.doubt or self.slow or not self.sitting:
            return 0
        return max(0, self.idle + self.ahead)

    def hear(self, message: Message) -> None:
        """Take in the facts that every word from the agent carries."""
        self.offset = max(self.offset, message["clock"] - boot_clock())
        if message["number"] > self.number:
            self.number = message["number"]
            self.sitting = message["sitting"]
        self.boot = message.get("boot") or self.boot
        self.host = message.get("host") or self.host

    @property
    def may_say(self) -> bool:
        """Whether it holds anything of ours, and a letter may go now."""
        return bool(self.runs) and self.out is None and not self.gone

    def due(self, now: float, lease: float) -> bool:
        """Tell whether a letter should go: there is something to say, or our word must be renewed."""
        if self.out is not None or self.gone or now < self.again_at:
            return False
        if self.jobs or self.ends or self.reads or (self.doubt and self.runs):
            return True
        return bool(self.runs or self.have) and now - self.sent_at >= lease / 4

    def due_at(self, lease: float) -> float | None:
        """Return when a letter is due or patience ends; None where there is nothing to wait for."""
        if not self.runs and not self.have:
            return None
        if self.gone:
            return min(self.lapse_at, self.prove_at) if self.runs else None
        if self.out is not None:
            return self.lapse_at if self.runs else None
        return self.again_at if self.doubt else max(self.again_at, self.sent_at + lease / 4)

    def letter(self, settings: Settings, *, now: float, changed: bool) -> Message:
        """Write the letter with all that waits to be said; our word then holds for a lease from ``now``."""
        self.seq += 1
        self.sent_at = now
        if not self.doubt:
            self.until = now + settings.lease
            self.lapse_at = now + remote_lease_s(settings)
        pass_on = changed or now >= self.pass_on_at
        if pass_on:
            self.pass_on_at = now + settings.lease / 4
        letter: Message = {
            "seq": self.seq,
            "heed": {
                "until": self.until + self.offset,
                "settings": {
                    "timeout": settings.timeout,
                    "kill_grace": settings.kill_grace,
                    "spool_limit": settings.spool_limit,
                },
            },
            "pass_on": pass_on,
            "jobs": self.jobs,
            "ahead": self.ahead,
            "ends": list(self.ends.items()),
            "reads": [[token, stream, *span] for (token, stream), span in self.reads.items()],
            "have": self.have,
        }
        for job in self.jobs:
            self.sent_with[job["lease"]["token"]] = self.seq
        self.jobs, self.ends, self.reads, self.have = [], {}, {}, []
        self.out = letter
        return letter

    def answered(self, letter: Message) -> None:
        """Take note that a letter was answered."""
        if self.out is letter:
            self.out = None
        self.doubt = self.slow = False

    def failed(self, letter: Message, now: float, pause: float) -> None:
        """Put back what may be said again; jobs are not, since it is not known whether they arrived."""
        if self.out is not letter:
            return
        self.out = None
        self.doubt, self.slow = True, False
        self.again_at = now + pause
        self.ends = {**dict(letter["ends"]), **self.ends}
        self.have = letter["have"] + self.have
        self.pass_on_at = 0.0

    def forget(self, token: str) -> None:
        """Take note that an attempt is over."""
        self.runs.pop(token, None)
        self.sent_with.pop(token, None)
        self.ends.pop(token, None)
