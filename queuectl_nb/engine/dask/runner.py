"""A runner: a small process beside a dask worker that runs one command at a time and survives the dask worker's death.

Like a local worker it is a subreaper, so "no children at all" proves that nothing of a command is left. It kills its
command when the dask worker dies (the channel closes) or when the lease expires because the dispatcher is silent. It
never opens the queue's database.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb.child.blob import read_blob
from queuectl_nb.engine.collect import read_reply
from queuectl_nb.engine.control import ORPHAN_GRACE_S
from queuectl_nb.engine.dask.archive import ARCHIVE, pack
from queuectl_nb.engine.dask.channel import Channel
from queuectl_nb.engine.dask.messages import Ended, LeaseRenewal, RunJob, Running, Terminate, Unstarted
from queuectl_nb.engine.dask.output_reporter import OutputReporter, hole_limit, reported_files
from queuectl_nb.engine.dask.recovery import open_record, save_end
from queuectl_nb.engine.executor import CannotStart, NoResources
from queuectl_nb.engine.heartbeat import boot_clock
from queuectl_nb.engine.local_executor import LocalExecutor
from queuectl_nb.engine.poller import Poller, block_signals
from queuectl_nb.engine.process_tree import become_subreaper, kill_descendants
from queuectl_nb.engine.run_monitor import RunMonitor
from queuectl_nb.model.attempt import DISK_FULL_NOTE
from queuectl_nb.model.outcome import Lost, NotStarted, Returned
from queuectl_nb.model.settings import Settings
from queuectl_nb.store.blobs import blob_dir
from queuectl_nb.store.calls import parse_reply
from queuectl_nb.store.output import limit_files, read_range
from queuectl_nb.store.regular_file import Descriptor, is_replaced, last_write
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from queuectl_nb.engine.local_run import LocalRun
    from queuectl_nb.model.attempt import Lease

__all__ = ["Runner", "run_runner"]

RUNNER_SIGNALS = (signal.SIGCHLD, signal.SIGTERM)
MAX_END_OUTPUT_BYTES = 16 * 1024
"""Maximum output that is sent with the end of a command; more stays in files until it is read."""


class Runner:
    """The main loop: :meth:`work` returns when the dask worker has died or closed the channel."""

    def __init__(self, channel: Channel, spool: Spool, executor: LocalExecutor) -> None:
        self.channel = channel
        self.spool = spool
        self.executor = executor
        self.settings = Settings.from_stored({})
        self.lease_until = 0.0
        self.job: Lease | None = None
        """The job to start next."""
        self.termination = Terminate("", 0.0)
        """The latest request to terminate; it may arrive right after its job."""
        self.orphaned = False
        """Whether the dask worker is gone."""
        self.poller = Poller(RUNNER_SIGNALS)
        self.poller.add("channel", channel.socket.fileno())

    def work(self) -> None:
        """Run one command after another."""
        while not self.orphaned:
            self._wait(None)
            if self.job is not None:
                job, self.job = self.job, None
                self._run(job)

    def _wait(self, timeout: float | None) -> None:
        """Wait at most ``timeout`` seconds for a signal, a child or messages, and handle them."""
        names = self.poller.wait(timeout)
        # a batch system sends SIGTERM to every process: like the death of the dask worker
        self.orphaned = self.orphaned or signal.SIGTERM in self.poller.signals
        self.poller.signals.clear()
        if "channel" not in names:
            return
        messages = self.channel.receive()
        if messages is None:
            self.orphaned = True
            self.poller.remove(self.channel.socket.fileno())
        for message in messages or ():
            match message:
                case Terminate():
                    self.termination = message
                case LeaseRenewal():
                    self._renew(message)
                case RunJob(lease, renewal):
                    self._renew(renewal)
                    self.job = lease

    def _send(self, message: Ended | Unstarted) -> None:
        """Send a message and wait until it is written; only between two commands."""
        try:
            self.channel.send(message)
        except OSError:
            self.orphaned = True

    def _offer(self, message: Running) -> bool:
        """Send a message that can wait; return False if it was not sent."""
        try:
            return self.channel.offer(message)
        except OSError:
            self.orphaned = True
            return False

    def _renew(self, renewal: LeaseRenewal) -> None:
        self.lease_until = renewal.until
        self.settings = self.settings._replace(**renewal.settings)

    @property
    def _expired(self) -> bool:
        return boot_clock() >= self.lease_until

    @property
    def _kill_grace_s(self) -> float:
        """Seconds between SIGTERM and SIGKILL; short if nobody waits for the command any more."""
        grace = self.settings.kill_grace
        return min(grace, ORPHAN_GRACE_S) if self.orphaned or self._expired else grace

    # ------------------------------------------------------------------ one command

    def _run(self, lease: Lease) -> None:
        token = lease.token
        if self._expired:
            self._send(Unstarted(token, "the lease of its dispatcher has expired"))
            return
        if token == self.termination.token:
            self._send(Unstarted(token, "it was stopped before it started"))
            return
        try:
            run = self.executor.start(lease, self.settings, lambda: True)
        except CannotStart as error:
            self._send(Ended(token, NotStarted(str(error), error.final)))
        except NoResources as error:
            os.makedirs(self.spool.folder, mode=0o700, exist_ok=True)  # a command may have removed it
            self._send(Unstarted(token, f"{error}"))
        else:
            self._wait(0)  # a fork server can take longer to start than a lease, which was renewed meanwhile
            self._monitor(run)

    def _monitor(self, run: LocalRun) -> None:
        """Watch a command until none of its processes is left, and report its end."""
        monitor, reporter = RunMonitor(run), OutputReporter(self._offer, run)
        while not monitor.step(self.settings, self._kill_grace_s):
            if monitor.is_long(time.monotonic()):
                reporter.report(self.settings)
            if self.orphaned:
                monitor.end(Lost("its dask worker", "ended"), self._kill_grace_s)
            elif self._expired:
                monitor.end(Lost("its dispatcher", "did not renew the lease"), self._kill_grace_s)
            elif self.termination.token == run.lease.token:
                monitor.end(Returned(), min(self.termination.grace_s, self._kill_grace_s))
            self._wait_for(monitor, reporter)
        if not self.executor.restore_limits():  # a new runner has those of the dask worker
            os.kill(os.getpid(), signal.SIGKILL)
        end = self._end_of(monitor, run)
        if not isinstance(end.outcome, Lost):
            save_end(f"{self.spool.folder}", end)
        if not self.orphaned:
            self._send(end)

    def _wait_for(self, monitor: RunMonitor, reporter: OutputReporter) -> None:
        """Wait until the command ends, a message arrives or something is due."""
        now = time.monotonic()
        if seconds := monitor.fast_wait_s(now):
            self.poller.wait_for_child(seconds)
            return
        wake = reporter.next_report_at
        left = self.lease_until - boot_clock()
        if not self.orphaned and left > 0:
            wake = min(wake, now + left)
        if (at := monitor.wake_at(self.settings)) is not None:
            wake = min(wake, at)
        self._wait(max(0.0, wake - now))

    def _end_of(self, monitor: RunMonitor, run: LocalRun) -> Ended:
        """Return the end of a command, with its result and as much output as fits."""
        token = run.lease.token
        result, note = self.spool.read_result(token)
        reply, blobs = None, {}
        if run.lease.call is not None:
            reply = read_reply(self.spool, run.lease, run.files.name)
            blobs = _take_blobs(self.spool, reply)
        kept = self.executor.artifacts.take(token, run.started, self.settings.artifact_limit)
        artifacts = pack(f"{self.spool.folder}", token, kept)
        if any(map(is_replaced, run.paths.values())):
            note = note or "its output could not be read: not a regular file"
        if limit_files(run.paths.values(), self.settings) or run.lost_output:
            note = note or DISK_FULL_NOTE
        paths = {**reported_files(run), ARCHIVE: f"{self.spool.path(token, ARCHIVE)}"}
        sizes = {stream: last_write(path)[1] for stream, path in paths.items()}
        output: dict[str, tuple[int, bytes]] = {}
        if sum(sizes.values()) > MAX_END_OUTPUT_BYTES or max(sizes.values()) > hole_limit(self.settings):
            if not run.move_to_own_files():
                note = note or DISK_FULL_NOTE
        else:  # all of it, since reports of a running command may be lost
            output = {stream: (0, read_range(paths[stream], 0, size)) for stream, size in sizes.items() if size}
            if not run.has_own_files:
                run.clear_files()
            self.spool.remove(token)
        process = (token, monitor.outcome, run.usage, run.pid, time.monotonic() - run.started)
        artifact_note = artifacts.note if artifacts else None
        return Ended(*process, result, note, sizes, output, reply, blobs, artifact_note)


def _take_blobs(spool: Spool, reply: str) -> dict[str, bytes]:
    """Read and remove the files of the values that a reply refers to; a missing one is reported by the reader."""
    found = {}
    for value in parse_reply(reply)[0]:
        if value.sha256 is not None:
            path = f"{blob_dir(spool.folder)}/{value.sha256}"
            with contextlib.suppress(OSError):
                found[value.sha256] = read_blob(path)
                os.unlink(path)
    return found


def run_runner(config: dict[str, Any]) -> int:
    """Run as a runner until the agent closes the channel."""
    become_subreaper()
    block_signals(*RUNNER_SIGNALS)
    spool, name = Spool(Path(config["folder"])), config["name"]
    executor = LocalExecutor(
        spool,
        spool.worker_files(name),
        open_record(config["folder"], name),
        lambda: Descriptor(os.open(os.devnull, os.O_RDONLY)),  # there are no rescuers here
        db=Path(config["db"]),
        environ=os.environ,
    )
    channel = Channel(socket.socket(fileno=config["channel"]))
    os.set_inheritable(config["channel"], False)
    try:
        Runner(channel, spool, executor).work()
    except BaseException:
        kill_descendants()  # leave no process unsupervised
        raise
    return 0
