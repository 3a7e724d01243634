"""Copies and rewrites of the queue's files while :mod:`tests.journeys.chaos` runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

from tests.journeys.chaos_acts import Act, kill_tree

if TYPE_CHECKING:
    from tests.journeys.chaos import Chaos

__all__ = ["CopyFolder", "ReadFiles", "Vacuum"]

COPY_SECONDS = 3.0
"""How long workers run in a copy, from their start."""


class ReadFiles(Act):
    """Copies of the queue's files by this process, which uses the queue, while others open and close it."""

    name = "copies of files"

    def perform(self) -> None:
        """Copy, let another process open and close the queue, and enqueue."""
        path, number = self.chaos.path, next(self.count)
        backup = path.parents[1] / "backup"
        copy = self.rng.choice(["file", "bytes", "folder"])
        if copy == "file":
            shutil.copy(path, backup)
        elif copy == "bytes":
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).read_bytes()
        else:
            copy_queue(self.chaos, path.parents[1] / "unused")
            shutil.rmtree(path.parents[1] / "unused")
        for turn in range(2):
            self.chaos.enqueue(f"copied-{number}-{turn}")
            self.chaos.start_enqueuer("states").communicate(timeout=60)


class CopyFolder(Act):
    """A copy of the folder in which workers run; they must not touch the processes of the original."""

    name = "copies with workers"

    def perform(self) -> None:
        """Copy the folder, run workers in the copy for a while, and remove it."""
        folder = self.chaos.folder.parent / f"copy-{next(self.count)}"
        copy_queue(self.chaos, folder)
        (folder / "marks").mkdir()
        db = folder / self.chaos.path.name
        arguments = [sys.executable, "-m", "queuectl_nb", "worker", "start", "--count", "2", "--db", str(db)]
        with (
            open(folder / "output", "wb") as output,
            subprocess.Popen(arguments, stdout=output, stderr=output) as workers,
        ):
            with contextlib.suppress(subprocess.TimeoutExpired):  # otherwise: copied in the middle of a write, unusable
                workers.wait(COPY_SECONDS)
            workers.send_signal(signal.SIGTERM)
            try:
                workers.wait(60)
            except subprocess.TimeoutExpired:
                left = psutil.Process(workers.pid).children(recursive=True)
                commands = [each.info["cmdline"] for each in psutil.process_iter(["cmdline"]) if each in left]
                self.chaos.report("orphans", f"the workers of a copy do not stop; left: {commands}")
                kill_tree(workers.pid)
        if (folder / "marks" / "overlaps").exists():
            self.chaos.report("overlapping", "in a copy: " + (folder / "marks" / "overlaps").read_text())
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(db) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                    self.chaos.report("orphans", f"in a copy, after its workers had ended: {process}")
        shutil.rmtree(folder, ignore_errors=True)


class Vacuum(Act):
    """A process that gives free pages back, in steps or by rewriting the file, and is killed at some point."""

    name = "vacuums"

    def perform(self) -> None:
        """Make free pages, start the process, and kill it."""
        path = self.chaos.path
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
            if self.rng.random() < 0.5:  # a file that can only be rewritten
                connection.executescript("PRAGMA auto_vacuum = NONE; VACUUM")
            connection.executescript("CREATE TABLE ballast AS SELECT randomblob(5000000); DROP TABLE ballast")
        arguments = [sys.executable, "-m", "queuectl_nb", "prune", "--vacuum", "--db", str(path)]
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.rng.uniform(0.1, 1.0))
            process.kill()


def copy_queue(chaos: Chaos, folder: os.PathLike[str]) -> None:
    """Copy the queue, its sidecar files, its spool and ``job.sh``, as ``cp -r`` does."""
    os.mkdir(folder)
    names = [name for name in os.listdir(chaos.folder) if name.startswith("chaos.db") or name == "job.sh"]
    # files may disappear meanwhile
    subprocess.run(
        ["cp", "-r", "-p", *names, os.fspath(folder)], cwd=chaos.folder, stderr=subprocess.DEVNULL, check=False
    )
