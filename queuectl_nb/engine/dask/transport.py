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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask import worker_tasks
from queuectl_nb.engine.dask.messages import (
    PROTOCOL,
    Event,
    Recovery,
    RecoveryQuery,
    Request,
    Response,
    from_wire,
    to_wire,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from distributed import Client, Future

__all__ = [
    "Answered",
    "ClusterTransport",
    "Connected",
    "Disconnected",
    "Incoming",
    "Recovered",
    "RequestFailed",
    "SlotEnded",
    "WorkersChanged",
]

WORKERS_INTERVAL_S = 1.0
"""How often the list of dask workers is read."""
VERSION_CHECK_TIMEOUT_S = 10.0
SCHEDULER_TIMEOUT_S = 5.0
RECONNECT_DELAY_S = 1.0


@dataclass(frozen=True, slots=True)
class Connected:
    """A scheduler has answered; ``workers`` are the addresses of its dask workers."""

    workers: set[str]


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection to the scheduler was lost."""

    reason: str


@dataclass(frozen=True, slots=True)
class WorkersChanged:
    """The scheduler has these dask workers now."""

    workers: set[str]


@dataclass(frozen=True, slots=True)
class Answered:
    """An agent answered; without a response there is no such agent any more."""

    agent: str
    request: Request
    response: Response | None


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request was not answered, and may or may not have arrived."""

    agent: str
    request: Request


@dataclass(frozen=True, slots=True)
class SlotEnded:
    """The task of a slot has ended."""

    slot: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What dask workers on the host of a lost agent have found of it."""

    agent: str
    recovery: Recovery


Incoming = Connected | Disconnected | WorkersChanged | Event | Answered | RequestFailed | SlotEnded | Recovered


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
        messages = []
        while self._inbox:
            messages.append(self._inbox.popleft())
        return messages

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
        self._put(Connected(set(await client.nthreads())))
        self._ready.set()
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), WORKERS_INTERVAL_S)
                break
            if client.status != "running":
                msg = "the connection was lost"
                raise ConnectionError(msg)
            self._put(WorkersChanged(set(await asyncio.wait_for(client.nthreads(), SCHEDULER_TIMEOUT_S))))
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
                *zip(*[(self.dispatcher_id, self._topic, self._db, slot) for slot in slots], strict=True),
                key=slots,
                retries=0,
                pure=False,
                resources=self._resources or None,
            )
            for slot, future in zip(slots, futures, strict=True):
                self._slots[slot] = future
                future.add_done_callback(lambda future, slot=slot: self._on_done(slot, future))

        self._call(submit)
        return slots

    def _on_done(self, slot: str, future: Future[None]) -> None:
        """Handle the end of a slot's task; called in a thread of dask."""
        error = None if future.status == "finished" else future.status
        self._post(self._release_slot, slot, error)

    def _release_slot(self, slot: str, error: str | None) -> None:
        future = self._slots.pop(slot, None)
        if future is None:
            return

        async def release(_client: Client) -> None:
            reason = str(await future.exception()) if error == "error" else error
            future.release()
            self._put(SlotEnded(slot, reason))

        self._call(release)

    def cancel_slots(self, slots: list[str]) -> None:
        """Cancel slot tasks that wait for a thread."""

        async def cancel(client: Client) -> None:
            if futures := [self._slots[slot] for slot in slots if slot in self._slots]:
                await client.cancel(futures)

        self._call(cancel)

    def send(self, address: str, agent: str, request: Request) -> None:
        """Send a request to an agent; :class:`Answered` or :class:`RequestFailed` follows."""

        async def ask(client: Client) -> None:
            try:
                answers = await client.run(
                    worker_tasks.handle_request, self.dispatcher_id, agent, to_wire(request), workers=[address]
                )
            except Exception:  # noqa: BLE001 - whatever it is, there is no response
                self._put(RequestFailed(agent, request))
            else:
                self._put(Answered(agent, request, from_wire(answers[address])))

        self._call(ask)

    def recover(self, addresses: list[str], agent: str, query: RecoveryQuery) -> None:
        """Have dask workers on the host of a lost agent kill its processes and return what it left."""

        async def ask(client: Client) -> None:
            with contextlib.suppress(Exception):  # the executor tries again
                answers = await client.run(worker_tasks.recover, to_wire(query), workers=addresses, on_error="ignore")
                found: list[Recovery] = [from_wire(answer) for answer in answers.values()]
                merged = Recovery(
                    any(each.gone for each in found),
                    [end for each in found for end in each.ended],
                    [chunk for each in found for chunk in each.chunks],
                )
                self._put(Recovered(agent, merged))

        self._call(ask)


async def _check_versions(client: Client) -> None:
    """Raise RuntimeError if a dask worker lacks this package or has another version of it."""
    with contextlib.suppress(TimeoutError):
        answers = await asyncio.wait_for(
            client.run(worker_tasks.check_version, PROTOCOL, on_error="return"), VERSION_CHECK_TIMEOUT_S
        )
        problems = {
            f"{answer}" for answer in answers.values() if isinstance(answer, str | ImportError | AttributeError)
        }
        if problems := problems - {""}:
            version = importlib.metadata.version("queuectl-nb")
            msg = f"{', '.join(sorted(problems))}; install queuectl-nb=={version} where the dask workers run"
            raise RuntimeError(msg)
