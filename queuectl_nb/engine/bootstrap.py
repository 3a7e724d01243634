"""Putting a pool or a worker process together from its configuration."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.process_tree import become_subreaper, descendants, kill_tree
from queuectl_nb.model.errors import BadEnvironment, Busy, QueuectlError
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from queuectl_nb.engine.control import WorkerControl

__all__ = ["run_dispatcher", "run_pool", "run_worker"]

WORKER_PATIENCE = 1.0
"""Seconds a worker waits for the write gate before it looks after its processes again."""


def run_pool(config: dict[str, Any]) -> int:
    """Be a pool until all its workers have ended; return the exit code."""
    from queuectl_nb.engine.supervisor import Supervisor

    become_subreaper()
    events = Events(1)
    try:
        store = Store(Path(config["db"]), allow_network_fs=config["allow_network_fs"])
        return Supervisor(store, config, events).work()
    except QueuectlError as error:
        events.emit("failed", text=str(error), exit_code=error.exit_code)
        events.flush()
        return error.exit_code
    except OSError as error:  # a full disk, say, that cannot take a lock file
        import traceback

        traceback.print_exc()  # into the pool's log
        text = f"the worker pool cannot work: {error.filename or config['db']}: {error.strerror}"
        events.emit("warning", worker="pool", text=text)
        events.emit("failed", text=text, exit_code=BadEnvironment.exit_code)
        events.flush()
        return BadEnvironment.exit_code


def run_worker(config: dict[str, Any]) -> int:
    """Be a worker until it is stopped; return the exit code: 0 in good order, 3 where the file cannot be used."""
    from queuectl_nb.engine.local_executor import LocalExecutor
    from queuectl_nb.engine.worker import Worker
    from queuectl_nb.engine.worker_core import WorkerCore

    become_subreaper()
    if hasattr(signal, "sigtimedwait"):
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))  # before any thread: see Waiter.wait_for_child
    name, lock = config["name"], config["lock"]
    events = _come_alive(lock)
    try:
        store = _open(config)
        store.db.tune_for_worker()
        control = _listen(config, store, events)
        executor = LocalExecutor(
            store.spool,
            store.spool.slot(name),
            lambda token: heartbeat.record_current_attempt(lock, token),
            db=store.path,
            environ=os.environ,
        )
        core = WorkerCore(store, control, host=heartbeat.host(), queues=config["queues"], drain=config["drain"])
        worker = Worker(core, executor)
        if not _sign_in(store, name, control):
            return 0
        worker.work()
        store.db.close()
    except BaseException as error:
        # no job may be left without anybody who watches over it
        kill_tree(lambda: descendants(os.getpid()))
        if not isinstance(error, QueuectlError):
            raise
        events.emit("warning", worker=name, text=str(error))
        events.flush()
        return error.exit_code
    return 0


def run_dispatcher(config: dict[str, Any]) -> int:
    """Be a dispatcher until it is stopped; return the exit code: 0 in good order, 3 where nothing can be reached."""
    from queuectl_nb.engine.dask.cluster import SECURITY, connector
    from queuectl_nb.engine.dask.dispatch_journal import DispatchJournal
    from queuectl_nb.engine.dask.dispatcher import Dispatcher
    from queuectl_nb.engine.dask.executor import DaskExecutor
    from queuectl_nb.engine.dask.transport import ClusterTransport
    from queuectl_nb.engine.worker_core import WorkerCore

    name, lock = config["name"], config["lock"]
    events = _come_alive(lock)
    dask, wire = config["dask"], None
    try:
        store = _open(config)
        # held to the end: while this process lives nobody settles in its place, and who takes it for frozen ends it
        store.spool.slot(name).open()
        control = _listen(config, store, events)
        connect = connector(dask["scheduler"], os.environ.pop(SECURITY, None), dask["most"])
        wire = ClusterTransport(
            connect, f"queuectl-{heartbeat.host()}-{store.path}-{name}", str(store.path), dask["resources"]
        )
        wire.patient = dask["patient"]
        wire.start()
        if wire.failure is not None:
            raise BadEnvironment(f"dask: {wire.failure}")  # noqa: EM102
        control.add("executor", wire.handle)
        crew = DaskExecutor(
            wire, store.spool, DispatchJournal(store.worker_dir, name), control.events, most=dask["most"]
        )
        core = WorkerCore(store, control, host=heartbeat.host(), queues=config["queues"], drain=config["drain"])
        dispatcher = Dispatcher(core, crew)
        if not _sign_in(store, name, control):
            return 0
        events.emit("connected", worker=name)
        events.flush()
        dispatcher.work()
        store.db.close()
    except QueuectlError as error:
        events.emit("warning" if dask["patient"] else "failed", worker=name, text=str(error), exit_code=error.exit_code)
        events.flush()
        return error.exit_code
    finally:
        if wire is not None:
            wire.close()
    return 0


def _come_alive(lock: int) -> Events:
    """Let the heart beat in the name's lock file, which no job may inherit; return where to tell what happens."""
    os.set_inheritable(lock, False)
    heartbeat.Heartbeat(lock).start()
    return Events(1)


def _open(config: dict[str, Any]) -> Store:
    """Open the queue for somebody with processes to look after, who waits for nobody for long."""
    store = Store(Path(config["db"]), allow_network_fs=config["allow_network_fs"])
    store.db.set_lock_timeout(WORKER_PATIENCE)
    return store


def _listen(config: dict[str, Any], store: Store, events: Events) -> WorkerControl:
    from queuectl_nb.engine.control import WorkerControl

    control = WorkerControl(store, config["name"], WorkerEvents(events, config["name"]))
    control.open(0, config["parent"])
    return control


def _sign_in(store: Store, name: str, control: WorkerControl) -> bool:
    """Write down that the worker runs, however long others keep the file; False where it was stopped before."""
    while not control.stop:
        try:
            store.workers.mark_running({name: os.getpid()}, time.time())
        except Busy:
            control.wait(0.0, idle=False)
        else:
            return True
    return False
