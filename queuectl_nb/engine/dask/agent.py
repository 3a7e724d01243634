"""What stands in for a dispatcher inside a dask worker: takes its letters, runs its jobs on the seats given by dask.

A seat is a dask task, so a thread of the dask worker; while it lasts it runs one job after another. A job comes to one
agent, once, in a letter, and what is not started goes back by the agent's own word; so no death or second run of a
*task* ever starts an *attempt* twice. Everything that an agent tells by an event it repeats in its answers to letters
until the dispatcher has it: events are fast, answers are sure.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine import heartbeat, process_tree
from queuectl_nb.engine.dask.runner_pool import RunnerPool
from queuectl_nb.engine.remote_lease import boot_clock
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.engine.dask.channel import Message
    from queuectl_nb.engine.dask.runner_pool import RunnerClient

__all__ = ["Agent"]

LINGER = 1.0
"""Seconds that a seat waits for a job before it gives its thread back to dask."""
SITTING = 10.0
"""Seconds after which a seat leaves between two jobs, so that dask can give the thread to somebody else."""
EVENT = 64 * 1024
"""Bytes up to which the end of a job is told by an event; a longer one is fetched."""
FORGOTTEN = 600.0
"""Seconds after its lease from which an idle agent is let go."""
PATIENCE = 3.0
"""Seconds spent on ending what a dead guard left."""


class Agent:
    """The agent of one dispatcher in one dask worker. Its methods are called from any thread."""

    def __init__(self, desk: str, tell: Callable[[Message], None], folder: str, db: str, address: str) -> None:
        """Tell the dispatcher ``desk`` by ``tell``; keep files in ``folder``; ``address`` is the dask worker's."""
        self.id = os.urandom(16).hex()
        self.desk = desk
        self.address = address
        self.boot = heartbeat.boot_id()
        self.folder = f"{folder}/queuectl-{self.id}"
        self.guards = RunnerPool(self.folder, db, self.id)
        self._tell = tell
        self._changed = threading.Condition()
        self._deck: deque[Message] = deque()
        self._sitting = 0
        self._busy: dict[str, RunnerClient | None] = {}
        self._ending: dict[str, float] = {}
        """Attempts that are to end, with their grace: said again and again, since a guard may not hear it."""
        self._lasting: dict[str, tuple[int, float]] = {}
        self._ended: dict[str, Message] = {}
        self._folders: dict[str, str] = {}
        self._order: Message = {"what": "heed", "until": 0.0, "settings": {}}
        self._seq = 0
        self._number = 0

    # ------------------------------------------------------------------ seats

    def sit(self, seat: str) -> None:
        """Run jobs on the calling thread until none has come for a while."""
        with self._changed:
            self._sitting += 1
            self._say("seat", seat=seat, boot=self.boot, host=heartbeat.host_name())
        until = boot_clock() + SITTING
        while (order := self._next(until)) is not None:
            self._run(order)

    def _next(self, until: float) -> Message | None:
        """Wait for a job and return it; None when it is time to leave, and the seat is gone then."""
        with self._changed:
            wait_until = boot_clock() + LINGER
            while True:
                now = boot_clock()
                if now >= self._order["until"]:
                    self._hand_back("its dispatcher was not heard of")
                if now >= until or (not self._deck and now >= wait_until):
                    break
                if self._deck:
                    order = self._deck.popleft()
                    self._busy[order["lease"]["token"]] = None
                    return order
                self._changed.wait(wait_until - now)
            self._sitting -= 1
            last = not self._sitting
            if last:
                self._hand_back("nobody sat there any more")
            self._say("left")
            needed = set(self._folders.values())
        if last:
            self.guards.close_idle(needed)
        return None

    def _run(self, order: Message) -> None:
        """Have one job run, and tell what becomes of it."""
        token = order["lease"]["token"]
        try:
            guard = self.guards.take()
        except OSError as error:
            with self._changed:
                self._busy.pop(token)
                self._ending.pop(token, None)
                self._over(token, _unstarted(token, f"no process could be started there: {error.strerror}"))
            return
        with self._changed:
            self._busy[token] = guard
            unwanted = token in self._ending
        end: Message | None = None
        if unwanted:
            end = _unstarted(token, "it was wanted back")
        else:
            end = self._attend(token, guard, {**self._order, **order, "what": "run"})
        if end is None:
            guard.close()
            gone = process_tree.kill_until_gone(lambda: process_tree.holders([token], []), PATIENCE, lambda: None)
            end = {"what": "ended", "token": token, "outcome": ["Lost", ["its guard", "died", not gone]]}
        else:
            self.guards.give_back(guard)
        with self._changed:
            self._busy.pop(token)
            self._ending.pop(token, None)
            self._lasting.pop(token, None)
            if end.pop("kept", False):
                self._folders[token] = guard.folder
            else:
                self._folders.pop(token, None)
            self._over(token, end)

    def _attend(self, token: str, guard: RunnerClient, order: Message) -> Message | None:
        """Have the guard run a job, pass on what it tells, and return the end; None where the guard died."""
        for message in guard.run(order):
            if message["what"] == "ended":
                return message
            with self._changed:
                if message["what"] == "lasts":
                    self._lasting[token] = (message["pid"], boot_clock() - message["age"])
                    self._folders[token] = guard.folder
                    if self._sitting == len(self._busy):
                        self._hand_back("the one before it lasts")
                self._say(**message)
        return None

    def _hand_back(self, why: str) -> None:
        """Send back what waits on the deck: none of it was started."""
        while self._deck:
            token = self._deck.popleft()["lease"]["token"]
            self._over(token, _unstarted(token, why))

    def _over(self, token: str, end: Message) -> None:
        """Keep the end of an attempt until the dispatcher has it, and tell it."""
        self._ended[token] = end
        size = len(end.get("result") or "") + sum(len(data) for _, data in end.get("rest", {}).values())
        if size > EVENT:
            self._say("look")
        else:
            self._say(**end)

    def _say(self, what: str, **facts: Any) -> None:
        """Tell an event; the number lets the dispatcher know which of two came later."""
        self._number += 1
        self._tell(
            {
                "what": what,
                "desk": self.desk,
                "agent": self.id,
                "address": self.address,
                "number": self._number,
                "sitting": self._sitting,
                "clock": boot_clock(),
                **facts,
            }
        )

    @property
    def forgotten(self) -> bool:
        """Whether nobody sits here and the dispatcher has not been heard of for long."""
        return not self._sitting and boot_clock() >= self._order["until"] + FORGOTTEN

    def dismiss(self) -> None:
        """Remove what it still keeps for a dispatcher that will not ask any more; only where it is forgotten."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # ------------------------------------------------------------------ letters

    def take(self, letter: Message) -> Message:
        """Do what a letter says and answer with all that the dispatcher must know. Never waits.

        A letter that comes after a later one counts for nothing, so that what was sent with it can be taken for lost.
        """
        words: list[tuple[RunnerClient | None, Message]] = []
        with self._changed:
            if letter["seq"] > self._seq:
                self._seq = letter["seq"]
                self._order = {"what": "heed", **letter["heed"]}
                for token in letter["have"]:
                    self._forget(token)
                self._accept(letter["jobs"], letter["ahead"])
                again = dict(self._ending) if letter["pass_on"] else {}
                if letter["pass_on"]:
                    words += [(guard, self._order) for guard in self._busy.values()]
                for token, grace in {**again, **dict(letter["ends"])}.items():
                    words.append((self._end(token, grace), {"what": "end", "token": token, "grace": grace}))
                self._changed.notify_all()
        for guard, message in words:
            if guard is not None:
                guard.tell(message)
        return self._answer(letter["reads"])

    def _end(self, token: str, grace: float) -> RunnerClient | None:
        """Return the guard that must end a job; one that was not started goes back."""
        if token in self._busy:
            self._ending[token] = grace
            return self._busy[token]
        self._take_back(token, "it was wanted back")
        return None

    def _accept(self, jobs: list[Message], ahead: int) -> None:
        """Put jobs on the deck, as many as there are idle seats and ``ahead`` more; the others go back."""
        room = self._sitting - len(self._busy) - len(self._deck) + (ahead if self._sitting else 0)
        for job in jobs:
            self._deck.append(job)
            room -= 1
            if room < 0:
                self._take_back(job["lease"]["token"], "no seat was free")

    def _take_back(self, token: str, why: str) -> None:
        """Take one job off the deck, if it is there."""
        for job in self._deck:
            if job["lease"]["token"] == token:
                self._deck.remove(job)
                self._over(token, _unstarted(token, why))
                return

    def _forget(self, token: str) -> None:
        """Drop what is kept of an attempt that the dispatcher has whole."""
        self._ended.pop(token, None)
        if (folder := self._folders.pop(token, None)) is not None:
            Spool(Path(folder)).remove(token)

    def _answer(self, reads: list[list[Any]]) -> Message:
        pieces = []
        for token, stream, offset, count in reads:
            folder = self._folders.get(token)
            found = None if folder is None else Spool(Path(folder)).read(token, stream, offset, count)
            pieces.append([token, stream, *(found or (offset, None))])
        with self._changed:
            now = boot_clock()
            there: dict[str, Any] = {job["lease"]["token"]: None for job in self._deck} | dict.fromkeys(self._busy)
            there |= {token: [pid, now - began] for token, (pid, began) in self._lasting.items()}
            self._number += 1
            return {
                "agent": self.id,
                "address": self.address,
                "boot": self.boot,
                "host": heartbeat.host_name(),
                "clock": now,
                "number": self._number,
                "sitting": self._sitting,
                "there": there,
                "ended": list(self._ended.values()),
                "pieces": pieces,
            }


def _unstarted(token: str, why: str) -> Message:
    """Return the end of an attempt that never began here and never will."""
    return {"what": "ended", "token": token, "outcome": None, "why": why}
