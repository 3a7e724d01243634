"""Builds supervisor, worker and dispatcher from their configuration and runs them."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.process_tree import become_subreaper, descendants, kill_tree
from queuectl_nb.model.errors import BadEnvironment, Busy, QueuectlError
from queuectl_nb.store.os_errors import os_reason

if TYPE_CHECKING:
    from queuectl_nb.engine.config import WorkerConfig
    from queuectl_nb.engine.control import WorkerControl
    from queuectl_nb.engine.worker_core import WorkerCore
    from queuectl_nb.store.store import Store

__all__ = ["run_dispatcher", "run_supervisor", "run_worker"]

LOCK_TIMEOUT_S = 1.0
"""Time that a worker waits for the write lock before it attends to its processes again."""
EVENT_PIPE = 1
CONTROL_PIPE = 0


def run_supervisor(config: WorkerConfig) -> int:
    """Run a supervisor until all its workers have ended; return the exit code."""
    from queuectl_nb.engine.supervisor import Supervisor

    become_subreaper()
    events = Events(EVENT_PIPE)
    try:
        return Supervisor(config.open_store(), config, events).work()
    except QueuectlError as error:
        events.emit("failed", text=str(error), exit_code=error.exit_code)
        events.flush()
        return error.exit_code
    except OSError as error:  # for example a full disk: no lock file can be written
        import traceback

        traceback.print_exc()  # to the log of the pool
        text = f"the worker pool cannot work: {error.filename or config.db}: {os_reason(error)}"
        events.emit("warning", worker="pool", text=text)
        events.emit("failed", text=text, exit_code=BadEnvironment.exit_code)
        events.flush()
        return BadEnvironment.exit_code


def run_worker(config: WorkerConfig) -> int:
    """Run a worker until it is stopped; return 0, or the exit code of the error that ended it."""
    from queuectl_nb.engine.control import STOP_SIGNALS
    from queuectl_nb.engine.local_executor import LocalExecutor
    from queuectl_nb.engine.outcome_journal import lock_journal
    from queuectl_nb.engine.worker import Worker
    from queuectl_nb.engine.worker_record import RecordWriter

    become_subreaper()
    if hasattr(signal, "sigtimedwait"):
        # before any thread: see Poller.wait_for_child and Poller.identify_senders
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD, *STOP_SIGNALS))
    events = _start_heartbeat(config.lock)
    try:
        store = _open_store(config)
        store.db.tune_for_worker()
        core = _make_core(config, store, events)
        executor = LocalExecutor(
            store.spool,
            store.spool.slot(config.name),
            RecordWriter(config.lock, config.name),
            lambda: lock_journal(store.worker_dir, config.name),
            db=store.path,
            environ=os.environ,
        )
        worker = Worker(core, executor)
        if not _register_running(store, config.name, core.control):
            return 0
        worker.work()
        store.db.close()
    except BaseException as error:
        kill_tree(lambda: descendants(os.getpid()))  # no job may run unsupervised
        if not isinstance(error, QueuectlError):
            raise
        events.emit("warning", worker=config.name, text=str(error))
        events.flush()
        return error.exit_code
    return 0


def run_dispatcher(config: WorkerConfig) -> int:
    """Run a dispatcher until it is stopped; return 0, or the exit code of the error that ended it."""
    from queuectl_nb.engine.dask.cluster import SECURITY_VARIABLE, Cluster, make_connect
    from queuectl_nb.engine.dask.dispatch_journal import DispatchJournal
    from queuectl_nb.engine.dask.dispatcher import Dispatcher
    from queuectl_nb.engine.dask.executor import DaskExecutor
    from queuectl_nb.engine.dask.transport import ClusterTransport

    name, cluster = config.name, config.dask or Cluster()
    events = _start_heartbeat(config.lock)
    transport = None
    try:
        store = _open_store(config)
        # kept locked: while this process lives no rescuer settles its attempts without killing it first
        store.spool.slot(name).open()
        core = _make_core(config, store, events)
        connect = make_connect(cluster.scheduler, os.environ.pop(SECURITY_VARIABLE, None), config.count)
        topic = f"queuectl-{heartbeat.host_name()}-{store.path}-{name}"
        transport = ClusterTransport(connect, topic, str(store.path), dict(cluster.resources))
        transport.retry_first = config.replacement
        transport.start()
        if transport.failure is not None:
            raise BadEnvironment(f"dask: {transport.failure}")  # noqa: EM102
        core.control.add("executor", transport.fd)
        journal = DispatchJournal(store.worker_dir, name)
        executor = DaskExecutor(transport, store.spool, journal, core.events, max_in_flight=config.count)
        dispatcher = Dispatcher(core, executor)
        if not _register_running(store, name, core.control):
            return 0
        events.emit("connected", worker=name)
        events.flush()
        dispatcher.work()
        store.db.close()
    except QueuectlError as error:
        kind = "warning" if config.replacement else "failed"
        events.emit(kind, worker=name, text=str(error), exit_code=error.exit_code)
        events.flush()
        return error.exit_code
    finally:
        if transport is not None:
            transport.close()
    return 0


def _start_heartbeat(lock: int) -> Events:
    """Start the heartbeat in the lock file, which no job may inherit; return the event pipe."""
    os.set_inheritable(lock, False)
    heartbeat.Heartbeat(lock).start()
    return Events(EVENT_PIPE)


def _open_store(config: WorkerConfig) -> Store:
    """Open the queue with the lock timeout of a worker."""
    store = config.open_store()
    store.db.set_lock_timeout(LOCK_TIMEOUT_S)
    return store


def _make_core(config: WorkerConfig, store: Store, events: Events) -> WorkerCore:
    """Build what worker and dispatcher share."""
    from queuectl_nb.engine.control import WorkerControl
    from queuectl_nb.engine.worker_core import WorkerCore

    control = WorkerControl(store, config.name, WorkerEvents(events, config.name))
    control.open(CONTROL_PIPE, config.parent, identify_senders=config.dask is None)
    return WorkerCore(
        store, control, host=heartbeat.host_name(), queues=config.queues, drain=config.drain, lock=config.lock
    )


def _register_running(store: Store, name: str, control: WorkerControl) -> bool:
    """Record the worker's pid, retrying while the database is busy; return False if the worker is stopped first."""
    while not control.stop:
        try:
            store.workers.mark_running({name: os.getpid()}, time.time())
        except Busy:
            control.wait(0.0, idle=False)
        else:
            return True
    return False
