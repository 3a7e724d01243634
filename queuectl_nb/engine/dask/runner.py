"""A guard: a small process beside a dask worker that runs one command at a time for it, and outlives its death.

It is to a dask worker what a worker of ours is to a pool: a subreaper, so that "no children at all" proves that nothing
of a command is left. It ends what it runs when the dask worker dies (the socket closes) and when the dispatcher has not
been heard of until the lease ran out. It knows nothing of the queue's file.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.control import ORPHAN_GRACE_S
from queuectl_nb.engine.dask.channel import Channel
from queuectl_nb.engine.executor import CannotStart, LeaseLost, NoResources
from queuectl_nb.engine.local_executor import LocalExecutor
from queuectl_nb.engine.poller import Poller
from queuectl_nb.engine.process_tree import become_subreaper, descendants, kill_tree
from queuectl_nb.engine.remote_lease import boot_clock
from queuectl_nb.engine.run_monitor import RunMonitor
from queuectl_nb.model.attempt import Lease
from queuectl_nb.model.outcome import NotStarted, Returned
from queuectl_nb.model.settings import Settings
from queuectl_nb.store.output import punch_middle
from queuectl_nb.store.regular_file import open_regular
from queuectl_nb.store.spool import STREAMS, Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.engine.dask.channel import Message
    from queuectl_nb.engine.local_executor import LocalRun
    from queuectl_nb.model.attempt import Usage
    from queuectl_nb.model.outcome import Outcome

__all__ = ["INLINE", "LASTS", "PIECE", "Runner", "run_runner"]

LASTS = 0.05
"""Seconds after which a command is told to be running."""
LOOK = 0.1
"""Seconds between looks at what a command has printed."""
TRIM = 1.0
PIECE = 8 * 1024
"""Most bytes of output that are told without being asked for."""
INLINE = 16 * 1024
"""Most bytes of output that come with the end of a command; more is left in files."""


class Runner:
    """The process's whole life: :meth:`work` returns when the dask worker is gone or needs it no more."""

    def __init__(self, link: Channel, spool: Spool, executor: LocalExecutor) -> None:
        """Run what ``link`` brings, its output in ``spool``."""
        self.link = link
        self.spool = spool
        self.executor = executor
        self.settings = Settings.from_stored({})
        self.until = 0.0
        self.unwanted = ""
        """An attempt that must not start any more."""
        self.alone = False
        """Whether the dask worker is gone."""
        self.waiter = Poller()
        self.waiter.catch_signals((signal.SIGCHLD, signal.SIGTERM))
        self.waiter.add("link", link.socket.fileno())

    def work(self) -> None:
        """Run one command after another."""
        while not self.alone:
            names = self.waiter.wait(None)
            self._hear_signals()
            order: Message | None = None
            for message in self._messages() if "link" in names else ():
                if message["what"] == "end":  # right behind the job that it is about, or even before it
                    self.unwanted = message["token"]
                else:
                    self._heed(message)
                    order = message if message["what"] == "run" else order
            if order is not None:
                self._run(order)

    def _messages(self) -> list[Message]:
        found = self.link.receive()
        self.alone = self.alone or found is None
        return found or []

    def _say(self, message: Message) -> None:
        """Tell the agent, and wait until it goes: only where no command runs any more."""
        try:
            self.link.send(message)
        except OSError:
            self.alone = True

    def _mention(self, message: Message) -> bool:
        """Tell the agent what can wait; tell whether it goes. An agent that is gone has the command ended."""
        try:
            return self.link.offer(message)
        except OSError:
            self.alone = True
            return False

    def _hear_signals(self) -> None:
        """Take TERM for the dask worker's end: a batch system sends it to every process."""
        self.alone = self.alone or signal.SIGTERM in self.waiter.signals
        self.waiter.signals.clear()

    def _heed(self, message: Message) -> None:
        """Take in how long the dispatcher's word holds, and the settings of the moment."""
        self.until = message["until"]
        self.settings = self.settings._replace(**message["settings"])

    # ------------------------------------------------------------------ one command

    def _run(self, message: Message) -> None:
        lease = Lease(**message["lease"])
        if boot_clock() >= self.until or lease.token == self.unwanted:
            why = "it was wanted back" if lease.token == self.unwanted else "its dispatcher was not heard of"
            self._tell_end(lease.token, None, why=why)
            return
        try:
            run = self.executor.start(lease, message["max_retries"], lambda: True)
        except CannotStart as why:
            self._tell_end(lease.token, NotStarted(str(why)))
        except (NoResources, LeaseLost) as why:
            self._tell_end(lease.token, None, why=str(why) or "the last command still holds its output")
        else:
            self._attend(run)

    def _attend(self, run: LocalRun) -> None:
        """Watch over a command until nothing of it is left, and tell what becomes of it."""
        attended, telling = RunMonitor(run), _Telling(self._mention, run)
        while not attended.step(self.settings, self._grace()):
            if attended.is_long(time.monotonic()):
                telling.look(self.settings.spool_limit)
            if self.alone or boot_clock() >= self.until:
                attended.end(Returned("its dispatcher was not heard of"), self._grace())
            self._sleep(attended, telling)
        if self.alone:
            return  # nobody to tell
        usage = None if attended.exit is None else attended.exit.usage
        self._tell_end(run.lease.token, attended.outcome, run=run, usage=usage, told=telling.told)

    def _grace(self) -> float:
        """Return the seconds from TERM to KILL: few where nobody waits for the command any more."""
        lapsed = self.alone or boot_clock() >= self.until
        return min(self.settings.kill_grace, ORPHAN_GRACE_S) if lapsed else self.settings.kill_grace

    def _sleep(self, attended: RunMonitor, telling: _Telling) -> None:
        """Wait until the command ends, somebody speaks, or something is due."""
        now = time.monotonic()
        if brief := attended.fast_wait_s(now):
            self.waiter.wait_for_child(brief)
            return
        wake = telling.look_at
        left = self.until - boot_clock()
        if not self.alone and left > 0:
            wake = min(wake, now + left)
        at = attended.wake_at(self.settings)
        if at is not None:
            wake = min(wake, at)
        names = self.waiter.wait(max(0.0, wake - now))
        self._hear_signals()
        if "link" not in names:
            return
        for message in self._messages():
            if message["what"] == "heed":
                self._heed(message)
            elif message["what"] == "end":
                attended.end(Returned(), min(message["grace"], self._grace()))
        if self.alone:
            self.waiter.remove(self.link.socket.fileno())

    def _tell_end(  # noqa: PLR0913 - the facts of an end
        self,
        token: str,
        outcome: Outcome | None,
        *,
        why: str | None = None,
        run: LocalRun | None = None,
        usage: Usage | None = None,
        told: dict[str, int] | None = None,
    ) -> None:
        """Tell how it ended; ``outcome`` None means that it never started."""
        message: Message = {"what": "ended", "token": token, "why": why, "outcome": None, "sizes": {}, "rest": {}}
        if outcome is not None:
            message["outcome"] = [type(outcome).__name__, [getattr(outcome, slot) for slot in type(outcome).__slots__]]
        if run is not None:
            message |= {"pid": run.pid, "ran": time.monotonic() - run.started}
            message |= self._left_behind(run, told or {})
        if usage is not None:
            message["usage"] = [usage.user_cpu_s, usage.system_cpu_s, usage.max_rss_bytes]
        self._say(message)

    def _left_behind(self, run: LocalRun, told: dict[str, int]) -> Message:
        """Return what the command printed and left as its result, as far as it is not told; the rest stays in files."""
        token = run.lease.token
        result, note = self.spool.read_result(token)
        found: Message = {"result": result, "note": note, "rest": {}, "sizes": {}}
        found["sizes"] = sizes = {stream: _size(path) for stream, path in run.paths.items()}
        rest = {stream: size - told.get(stream, 0) for stream, size in sizes.items()}
        if sum(rest.values()) > INLINE:
            run.move_to_own_files()
            found["kept"] = True
            return found
        for stream, count in rest.items():
            if count > 0:
                found["rest"][stream] = [told.get(stream, 0), _read(run.paths[stream], told.get(stream, 0), count)]
        if not run.has_own_files:
            run.clear_files()
        self.spool.remove(token)
        return found


class _Telling:
    """Tells that a command lasts, and what it prints meanwhile; what does not go is told at a later look."""

    def __init__(self, mention: Callable[[Message], bool], run: LocalRun) -> None:
        self.mention = mention
        self.run = run
        self.told: dict[str, int] = dict.fromkeys(STREAMS, 0)
        """Bytes of each stream that were sent along, without a gap from its beginning."""
        self.look_at = run.started + LASTS
        self._known = dict.fromkeys(STREAMS, 0)
        self._said = False
        self._trim_at = run.started + TRIM

    def look(self, limit: int) -> None:
        """Tell what is new, once in a while."""
        now = time.monotonic()
        if now < self.look_at:
            return
        self.look_at = now + LOOK
        token = self.run.lease.token
        if not self._said:
            age = now - self.run.started
            self._said = self.mention({"what": "lasts", "token": token, "pid": self.run.pid, "age": age})
        for stream, path in self.run.paths.items():
            size = _size(path)
            if size == self._known[stream]:
                continue
            message: Message = {"what": "grew", "token": token, "stream": stream, "size": size}
            told = self.told[stream]
            if told == self._known[stream] and size - told <= PIECE:
                message |= {"offset": told, "data": _read(path, told, PIECE)}
                size = message["size"] = told = told + len(message["data"])
            if self.mention(message):
                self._known[stream], self.told[stream] = size, told
        if now >= self._trim_at:
            self._trim_at = now + TRIM
            punch_middle(self.run.paths.values(), limit)


def _size(path: str) -> int:
    """Return the size of an output file; 0 where the job has removed it, or put something else there."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _read(path: str, offset: int, count: int) -> bytes:
    handle = open_regular(path, os.O_RDONLY)
    try:
        return os.pread(handle, count, offset)
    finally:
        os.close(handle)


def run_runner(config: dict[str, Any]) -> int:
    """Be a guard until the agent hangs up; ``config`` names its socket, its folder and the queue."""
    become_subreaper()
    if hasattr(signal, "sigtimedwait"):
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
    spool = Spool(Path(config["folder"]))
    executor = LocalExecutor(spool, spool.slot("guard"), lambda _token: None, db=Path(config["db"]), environ=os.environ)
    link = Channel(socket.socket(fileno=config["link"]))
    os.set_inheritable(config["link"], False)
    try:
        Runner(link, spool, executor).work()
    except BaseException:
        kill_tree(lambda: descendants(os.getpid()))  # nothing may stay without anybody who watches over it
        raise
    return 0
