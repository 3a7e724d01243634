"""The connection to a dask cluster: a thread that runs the event loop of a dask client.

It makes no decisions. What arrives is queued for :meth:`ClusterTransport.receive`, and a descriptor becomes readable.
After the loss of the scheduler it reconnects until one answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import threading
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.engine.dask import worker_tasks
from queuectl_nb.engine.dask.messages import PROTOCOL, Event, RecoveryQuery, Request, from_wire, to_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from distributed import Client, Future

__all__ = ["Answered", "ClusterTransport", "Disconnected", "Incoming", "SlotEnded", "WorkersChanged"]

WORKERS_INTERVAL_S = 1.0
"""How often the list of dask workers is read."""
ANSWER_TIMEOUT_S = 10.0
"""How long the scheduler may take to answer."""
RECONNECT_DELAY_S = 1.0


class WorkersChanged(NamedTuple):
    """The scheduler has dask workers with these addresses now; after a loss, the first one means that it is back."""

    workers: set[str]


class Disconnected(NamedTuple):
    """The connection to the scheduler was lost, or could not be made again."""

    reason: str


class Answered(NamedTuple):
    """What dask workers answered to a question; without answers it may or may not have arrived."""

    agent: str
    question: Request | RecoveryQuery
    answers: list[Any]


class SlotEnded(NamedTuple):
    """The task of a slot has ended."""

    slot: str
    error: str | None
    """Why dask could not run it, if it could not."""


Incoming = WorkersChanged | Disconnected | Event | Answered | SlotEnded


class ClusterTransport:
    """Connects a dispatcher to the dask cluster behind the client that ``connect`` makes."""

    def __init__(self, connect: Callable[[], Any], topic: str, db: str, resources: Mapping[str, float]) -> None:
        """Prepare the connection; :meth:`start` makes it.

        Parameters
        ----------
        connect
            Returns an async context manager that yields a connected client.
        topic
            The dask topic of the agents' events.
        db
            The path of the queue's database, passed to jobs.
        resources
            The dask resources that each slot needs.
        """
        self.dispatcher_id = uuid.uuid4().hex
        self.failure: str | None = None
        self.retry_first = False
        """Whether to retry the first connection, too, instead of setting :attr:`failure`."""
        self._connect = connect
        self._topic = topic
        self._db = db
        self._resources = dict(resources)
        self._inbox: deque[Incoming] = deque()
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._slots: dict[str, Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queuectl-transport", daemon=True)

    def start(self) -> None:
        """Connect, and wait until the scheduler answers or :attr:`failure` is set."""
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Disconnect and wait for the thread. Slots without a job are not waited for."""
        if self._loop is not None:
            self._post(self._closing.set)
            self._thread.join()

    def _post(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function in the thread; do nothing once its event loop is closed."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function, *arguments)

    def receive(self) -> list[Incoming]:
        """Return what has arrived since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        return [self._inbox.popleft() for _ in range(len(self._inbox))]

    def _put(self, message: Incoming) -> None:
        self._inbox.append(message)
        with contextlib.suppress(BlockingIOError):
            os.write(self._write_fd, b"!")

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._stay_connected())
        finally:
            self._ready.set()

    async def _stay_connected(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            try:
                async with self._connect() as client:
                    self._client = client
                    await self._serve(client)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - dask may raise anything
                reason = " ".join(f"{error}".split()) or type(error).__name__
                if not self._ready.is_set() and not self.retry_first:
                    self.failure = reason
                    return
                self._put(Disconnected(reason))
            finally:
                self._client = None
                self._slots.clear()
            self._ready.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), RECONNECT_DELAY_S)

    async def _serve(self, client: Client) -> None:
        """Watch the connection until it is closed or lost."""
        client.subscribe_topic(self._topic, lambda event: self._put(from_wire(event[1])))
        if not self._ready.is_set():
            await _check_versions(client)
        self._put(WorkersChanged(set(await client.nthreads())))
        self._ready.set()
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), WORKERS_INTERVAL_S)
                break
            if client.status != "running":
                raise ConnectionError("the connection was lost")
            self._put(WorkersChanged(set(await asyncio.wait_for(client.nthreads(), ANSWER_TIMEOUT_S))))
        for future in self._slots.values():
            future.release()

    def _call(self, use: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine with the client in the thread; do nothing while there is no connection."""

        def begin() -> None:
            if self._client is not None:
                task = asyncio.ensure_future(use(self._client))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        self._post(begin)

    # ------------------------------------------------------------------ outgoing

    def submit_slots(self, count: int) -> list[str]:
        """Submit ``count`` slot tasks and return their names."""
        slots = [f"queuectl-slot-{uuid.uuid4().hex}" for _ in range(count)]

        async def submit(client: Client) -> None:
            futures = client.map(
                worker_tasks.run_slot,
                slots,
                dispatcher_id=self.dispatcher_id,
                topic=self._topic,
                db=self._db,
                key=slots,
                retries=0,
                pure=False,
                resources=self._resources or None,
            )
            self._slots.update(zip(slots, futures, strict=True))
            await asyncio.gather(*[self._watch_slot(slot, future) for slot, future in zip(slots, futures, strict=True)])

        self._call(submit)
        return slots

    async def _watch_slot(self, slot: str, future: Future[None]) -> None:
        error = await future.exception()
        if self._slots.pop(slot, None) is not None:
            future.release()
            self._put(SlotEnded(slot, None if error is None else str(error)))

    def cancel_slots(self, slots: list[str]) -> None:
        """Cancel slot tasks that wait for a thread."""

        async def cancel(client: Client) -> None:
            if futures := [self._slots[slot] for slot in slots if slot in self._slots]:
                await client.cancel(futures)

        self._call(cancel)

    def ask(self, addresses: list[str], agent: str, question: Request | RecoveryQuery) -> None:
        """Ask dask workers a question about an agent; :class:`Answered` follows."""

        async def run(client: Client) -> None:
            answers: dict[str, Any] = {}
            with contextlib.suppress(Exception):  # whatever it is, there is no answer
                answers = await client.run(
                    worker_tasks.answer,
                    self.dispatcher_id,
                    agent,
                    to_wire(question),
                    workers=addresses,
                    on_error="ignore",
                )
            self._put(Answered(agent, question, [from_wire(answer) for answer in answers.values()]))

        self._call(run)


async def _check_versions(client: Client) -> None:
    """Raise RuntimeError if a dask worker lacks this package or has another version of it."""
    with contextlib.suppress(TimeoutError):
        answers = await asyncio.wait_for(
            client.run(worker_tasks.check_version, PROTOCOL, on_error="return"), ANSWER_TIMEOUT_S
        )
        problems = {
            f"{answer}" for answer in answers.values() if isinstance(answer, str | ImportError | AttributeError)
        }
        if problems := problems - {""}:
            version = importlib.metadata.version("queuectl-nb")
            msg = f"{', '.join(sorted(problems))}; install queuectl-nb=={version} where the dask workers run"
            raise RuntimeError(msg)
