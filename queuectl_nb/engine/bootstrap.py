"""Builds supervisors, workers and dispatchers from their configuration and runs them."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.control import REPLACE_EXIT_CODE, STOP_SIGNALS, WorkerControl
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.forked_process import can_fork
from queuectl_nb.engine.poller import block_signals
from queuectl_nb.engine.process_tree import become_subreaper, kill_descendants, use_one_heap
from queuectl_nb.engine.work_buffer import LOCK_TIMEOUT_S
from queuectl_nb.engine.worker_core import WorkerCore
from queuectl_nb.model.errors import BadEnvironment, QueuectlError
from queuectl_nb.store.os_errors import os_reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.engine.config import WorkerConfig
    from queuectl_nb.engine.dask.dispatcher import Dispatcher
    from queuectl_nb.engine.worker import Worker
    from queuectl_nb.store.store import Store

__all__ = ["run_supervisor", "run_worker"]

EVENT_PIPE = 1
TASKS_PER_WORKER = 4
"""Processes and threads for which a worker needs room: itself, its heartbeat, and the shell and a command of a job."""
PROBE_STACK_BYTES = 64 * 1024


def run_supervisor(config: WorkerConfig) -> int:
    """Run a supervisor until all its workers have ended; return the exit code."""
    from queuectl_nb.engine.supervisor import Supervisor

    if config.dask is None:  # forked workers share what is loaded now
        from queuectl_nb.engine import local_executor, outcome_journal, worker, worker_record  # noqa: F401
        from queuectl_nb.model.job_environment import base_environment

        base_environment({})
    become_subreaper()
    signals = [signal.SIGCHLD, *STOP_SIGNALS]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup does
        signals.append(signal.SIGHUP)
    _block_signals(*signals)
    events = Events(EVENT_PIPE)
    try:
        config = _fit_processes(config, events)
        return Supervisor(config.open_store(), config, events, signals).work()
    except QueuectlError as error:
        events.emit("failed", text=str(error), exit_code=error.exit_code)
        events.flush()
        return error.exit_code
    except OSError as error:  # for example a full disk: no lock file can be written
        import traceback

        traceback.print_exc()  # to the log of the pool
        text = f"the worker pool cannot run: {error.filename or config.db}: {os_reason(error)}"
        events.emit("warning", worker="pool", text=text)
        events.emit("failed", text=text, exit_code=BadEnvironment.exit_code)
        events.flush()
        return BadEnvironment.exit_code


def _fit_processes(config: WorkerConfig, events: Events) -> WorkerConfig:
    """Reduce the number of workers to those that can run jobs; raise BadEnvironment if there is no room for one."""
    fit = _in_fork(_count_startable_threads, config.processes * TASKS_PER_WORKER) // TASKS_PER_WORKER
    if fit >= config.processes:
        return config
    remedy = "raise 'ulimit -u' or the limit of the container (pids.max)"
    if not fit:
        raise BadEnvironment(f"no room for the processes of a worker; {remedy}")
    text = f"only {fit} of {config.processes} workers fit into the limit of processes; {remedy} to start more"
    events.emit("warning", worker="pool", text=text)
    return replace(config, count=fit)


def _in_fork(count: Callable[[int], int], wanted: int) -> int:
    """Return ``count(wanted)``, called in a fork if possible: workers would inherit the heap of a thousand threads."""
    if not can_fork():
        return count(wanted)
    read, write = os.pipe()
    try:
        pid = os.fork()
        if not pid:
            try:
                os.write(write, b"%d" % count(wanted))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        os.write(write, b"\n")
        return int(os.read(read, 32).strip() or b"0")
    except BlockingIOError:
        return 0
    finally:
        os.close(read)
        os.close(write)


def _count_startable_threads(wanted: int) -> int:
    """Return how many more threads, up to ``wanted``, can run now; each counts like a process.

    Trying is the only way to know: many limits apply, and other programs use them too. The threads take little address
    space, because its limit (``ulimit -v``) applies to each process: small stacks, and no heap of their own.
    """
    use_one_heap()
    end = threading.Event()
    threads: list[threading.Thread] = []
    usual_size = threading.stack_size(PROBE_STACK_BYTES)
    try:
        for _ in range(wanted):
            thread = threading.Thread(target=end.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError:
        pass
    finally:
        threading.stack_size(usual_size)
    end.set()
    for thread in threads:
        thread.join()
    return len(threads)


def run_worker(config: WorkerConfig, store: Store | None = None) -> int:
    """Run a worker, or with dask a dispatcher, until it is stopped; ``store`` is the one that a fork has inherited.

    Return 0, :data:`REPLACE_EXIT_CODE`, or the exit code of the error that ended it.
    """
    if config.dask is None:
        become_subreaper()
        _block_signals(signal.SIGCHLD, *STOP_SIGNALS)
    else:
        block_signals()  # none: the processes of a local cluster would inherit that
    for handle in {config.lock, config.starter} - {-1}:
        os.set_inheritable(handle, False)
    events = Events(EVENT_PIPE)
    try:
        heartbeat.Heartbeat(config.lock).start()
        with ExitStack() as resources:
            replace_it = _run_worker(config, store or config.open_store(), events, resources)
    except BaseException as error:
        if config.dask is None:
            kill_descendants()  # no job may run unsupervised
        if not isinstance(error, QueuectlError):
            raise
        kind = "warning" if config.dask is None or config.replaces else "failed"
        events.emit(kind, worker=config.name, text=str(error), exit_code=error.exit_code)
        events.flush()
        return error.exit_code
    return REPLACE_EXIT_CODE if replace_it else 0


def _block_signals(*numbers: int) -> None:
    """Block signals, SIGINT among them, so that transactions need not replace its handler to delay it."""
    block_signals(*numbers)
    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run_worker(config: WorkerConfig, store: Store, events: Events, resources: ExitStack) -> bool:
    """Run the worker; return True if a job may have stopped it."""
    store.db.set_lock_timeout(LOCK_TIMEOUT_S)
    control = WorkerControl(store, config.name, WorkerEvents(events, config.name))
    control.open(config.parent, config.starter)
    core = WorkerCore(
        store,
        control,
        host=heartbeat.job_host(),
        queues=config.queues,
        drain=config.drain,
        lock=config.lock,
        parallel=config.dask is not None,
    )
    worker = _make_worker(config, core) if config.dask is None else _make_dispatcher(config, core, resources)
    if config.dask is not None:
        events.emit("connected", worker=config.name)
        events.flush()
    worker.work()
    store.db.close()
    return control.sender_ended


def _make_worker(config: WorkerConfig, core: WorkerCore) -> Worker:
    from queuectl_nb.engine.local_executor import LocalExecutor
    from queuectl_nb.engine.outcome_journal import lock_journal
    from queuectl_nb.engine.worker import Worker
    from queuectl_nb.engine.worker_record import RecordWriter

    store = core.store
    store.db.tune_for_worker()
    executor = LocalExecutor(
        store.spool,
        store.spool.worker_files(config.name),
        RecordWriter(config.lock, config.name),
        lambda: lock_journal(store.worker_dir, config.name),
        db=store.path,
        environ=os.environ,
    )
    return Worker(core, executor)


def _make_dispatcher(config: WorkerConfig, core: WorkerCore, resources: ExitStack) -> Dispatcher:
    from queuectl_nb.engine.dask.cluster import SECURITY_VARIABLE, Cluster, make_connect
    from queuectl_nb.engine.dask.dispatch_table import DispatchTable
    from queuectl_nb.engine.dask.dispatcher import Dispatcher, take_over
    from queuectl_nb.engine.dask.executor import DaskExecutor
    from queuectl_nb.engine.dask.transport import ClusterTransport

    store, name, cluster = core.store, config.name, config.dask or Cluster()
    # kept locked: while this process lives no rescuer settles its attempts without killing it first
    store.spool.worker_files(name).open()
    table = DispatchTable(store.worker_dir, name)
    taken = take_over(core, table, config.replaces)
    connect = make_connect(cluster.scheduler, os.environ.pop(SECURITY_VARIABLE, None), config.count)
    topic = f"queuectl-{heartbeat.host_name()}-{store.path}-{name}"
    transport = ClusterTransport(connect, topic, str(store.path), dict(cluster.resources))
    transport.retry_first = bool(config.replaces)
    resources.callback(transport.close)
    transport.start()
    if transport.failure is not None:
        raise BadEnvironment(f"dask: {transport.failure}")
    core.control.add("executor", transport.fd)
    executor = DaskExecutor(transport, store.spool, table, core.events, max_in_flight=config.count)
    dispatcher = Dispatcher(core, executor)
    for predecessor, leases in taken.items():
        runs = executor.take_over(predecessor, leases, core.control.settings)
        dispatcher.in_flight |= {run.token: run for run in runs}
    return dispatcher
