"""Forks and interrupts of enqueuers while :mod:`tests.journeys.chaos` runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from tests.journeys.chaos_acts import Act
from tests.journeys.chaos_enqueuer import MODES

if TYPE_CHECKING:
    from tests.journeys.chaos import Chaos

__all__ = ["Fork", "Interrupt"]

FORKING_MODES = [mode for mode in MODES if mode not in {"interrupted", "states"}]
INTERRUPTS = 40
"""SIGINTs for each interrupted enqueuer."""


class Fork(Act):
    """Enqueuers that fork after they have used the queue; the parent or the child ends first."""

    name = "forks"

    def __init__(self, chaos: Chaos) -> None:
        super().__init__(chaos)
        self._running: list[tuple[str, subprocess.Popen[str]]] = []

    def perform(self) -> None:
        """Start the next kind of enqueuer."""
        number = next(self.count)
        mode = FORKING_MODES[number % len(FORKING_MODES)]
        self._running.append((mode, self.chaos.start_enqueuer(mode, f"fork-{number}")))

    def finish(self) -> None:
        """Wait until all forked processes have ended, which is when the pipe has no writer."""
        for mode, process in self._running:
            process.communicate(timeout=120)
            if process.returncode:
                self.chaos.report("lost", f"the enqueuer '{mode}' ended with code {process.returncode}")
        self._running.clear()


class Interrupt(Act):
    """A storm of SIGINTs on an enqueuer, which then idles and must hold nothing."""

    name = "interrupts"

    def perform(self) -> None:
        """Interrupt an enqueuer, let it idle, inspect its locks and stop it."""
        process = self.chaos.start_enqueuer("interrupted", f"interrupted-{next(self.count)}", stdin=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                return
            for _ in range(INTERRUPTS):
                process.send_signal(signal.SIGINT)
                time.sleep(self.rng.uniform(0, 0.003))
            with contextlib.suppress(BrokenPipeError):  # interrupted where it had no handler
                process.stdin.write("stop\n")
                process.stdin.flush()
            if process.stdout.readline() == "idle\n":
                for lock in held_locks(process.pid, str(self.chaos.path)):
                    self.chaos.report("locked", f"an idle enqueuer holds {lock}")
        finally:
            process.kill()
            process.communicate()


def held_locks(pid: int, db: str) -> list[str]:
    """Return the locks of a process that only a transaction needs: the write lock, and those on the WAL index."""
    inodes = {os.stat(path).st_ino: path for path in (f"{db}-shm", f"{db}-spool/write.lock") if os.path.exists(path)}
    found = []
    with open("/proc/locks") as lines:
        for line in lines:
            words = line.split()
            if words[1] == "->" or int(words[4]) != pid:
                continue
            path = inodes.get(int(words[5].rpartition(":")[2]))
            # a connection holds byte 128 of the index as long as it is open
            if path is not None and (path.endswith(".lock") or words[6] != "128"):
                found.append(f"{path} {words[6]}-{words[7]}")
    return found
