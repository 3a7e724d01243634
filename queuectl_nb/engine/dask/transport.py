"""The wire to a dask cluster: a thread with a client's event loop, in which words go out and come in.

It decides nothing. What came in is taken with :meth:`Wire.take`, by the one thread that decides; a descriptor becomes
readable when there is something. A lost scheduler is called again until it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import threading
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask import worker_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from distributed import Client, Future

    from queuectl_nb.engine.dask.channel import Message

__all__ = ["ClusterTransport", "News"]

WATCH = 1.0
"""Seconds between looks at which dask workers there are."""
GREETING = 10.0
"""Seconds in which the dask workers should answer the first call."""
SILENCE = 5.0
"""Seconds in which a scheduler must answer while it is connected."""
AGAIN = 1.0
"""Seconds between calls to a scheduler that is gone."""
News = tuple[Any, ...]
"""``("up", workers)``, ``("down", why)``, ``("workers", addresses)``, ``("event", message)``,
``("answer", agent, letter, answer or error)``, ``("seat", name, error or None)``, ``("swept", agent, gone)``."""


class ClusterTransport:
    """Talks to the cluster behind a client that ``connect`` makes, for the dispatcher that calls itself ``desk``."""

    def __init__(self, connect: Callable[[], Any], topic: str, db: str, resources: Mapping[str, float]) -> None:
        """Prepare; :meth:`start` calls the scheduler.

        Parameters
        ----------
        connect
            Returns an async context manager that gives a connected client.
        topic
            Under which agents tell their events.
        db
            The queue's file, as its jobs are told.
        resources
            Of dask, which each seat takes.
        """
        self.desk = uuid.uuid4().hex
        self.topic = topic
        self.failure: str | None = None
        self._connect = connect
        self._db = db
        self._resources = dict(resources)
        self.patient = False
        """Whether the first call, too, is made again until it succeeds."""
        self._inbox: deque[News] = deque()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._seats: dict[str, Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queuectl-wire", daemon=True)

    @property
    def handle(self) -> int:
        """Readable when something came in."""
        return self._read

    def start(self) -> None:
        """Call the scheduler and wait until it answers, or ``failure`` says why it does not."""
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Hang up and wait until that is done: seats that hold no job are not waited for."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    def take(self) -> list[News]:
        """Return what came in since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        found = []
        while self._inbox:
            found.append(self._inbox.popleft())
        return found

    def _put(self, *news: Any) -> None:
        self._inbox.append(news)
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        finally:
            self._ready.set()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            try:
                async with self._connect() as client:
                    self._client = client
                    await self._talk(client)
            except Exception as error:  # noqa: BLE001 - whatever a foreign cluster makes of it
                why = " ".join(f"{error}".split()) or type(error).__name__
                if not self._ready.is_set() and not self.patient:
                    self.failure = why
                    return
                self._put("down", why)
            finally:
                self._client = None
                self._seats.clear()
            self._ready.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), AGAIN)

    async def _talk(self, client: Client) -> None:
        """Be connected, until told to hang up or the scheduler is gone."""
        client.subscribe_topic(self.topic, lambda event: self._put("event", event[1]))
        if not self._ready.is_set():
            await _greet(client)
        self._put("up", set(await client.nthreads()))
        self._ready.set()
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), WATCH)
                break
            if client.status != "running":
                msg = "the connection was lost"
                raise ConnectionError(msg)
            self._put("workers", set(await asyncio.wait_for(client.nthreads(), SILENCE)))
        for future in self._seats.values():
            future.release()

    def _soon(self, act: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
        """Do something with the client, in its thread; nothing while there is none."""

        def begin() -> None:
            if self._client is not None:
                task = asyncio.ensure_future(act(self._client))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        if self._loop is not None:
            self._loop.call_soon_threadsafe(begin)

    # ------------------------------------------------------------------ words out

    def seat(self, count: int) -> list[str]:
        """Ask dask for ``count`` more seats and return their names."""
        names = [f"queuectl-seat-{uuid.uuid4().hex}" for _ in range(count)]

        async def ask(client: Client) -> None:
            futures = client.map(
                worker_tasks.run_slot,
                *zip(*[(self.desk, self.topic, self._db, name) for name in names], strict=True),
                key=names,
                retries=0,
                pure=False,
                resources=self._resources or None,
            )
            for name, future in zip(names, futures, strict=True):
                self._seats[name] = future
                future.add_done_callback(lambda future, name=name: self._seat_over(name, future))

        self._soon(ask)
        return names

    def _seat_over(self, name: str, future: Future[None]) -> None:
        """Take note that a seat left; called in a thread of dask's."""
        error = None if future.status == "finished" else future.status
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop_seat, name, error)

    def _drop_seat(self, name: str, error: str | None) -> None:
        future = self._seats.pop(name, None)
        if future is None:
            return

        async def ask(_client: Client) -> None:
            why = error
            if error == "error":
                why = str(await future.exception())
            future.release()
            self._put("seat", name, why)

        self._soon(ask)

    def unseat(self, names: list[str]) -> None:
        """Take back seats that dask has given no thread yet."""

        async def ask(client: Client) -> None:
            futures = [self._seats[name] for name in names if name in self._seats]
            if futures:
                await client.cancel(futures)

        self._soon(ask)

    def send(self, address: str, agent: str, letter: Message) -> None:
        """Send a letter to an agent; the answer, or what went wrong, comes in."""

        async def ask(client: Client) -> None:
            try:
                answers = await client.run(worker_tasks.handle_request, self.desk, agent, letter, workers=[address])
            except Exception as error:  # noqa: BLE001 - all of them mean that nobody answered
                self._put("answer", agent, letter, error)
            else:
                self._put("answer", agent, letter, answers[address])

        self._soon(ask)

    def sweep(self, addresses: list[str], agent: str, boot: str, tokens: list[str]) -> None:
        """Have what a lost agent left ended by a dask worker that sees its processes, if one of these does."""

        async def ask(client: Client) -> None:
            with contextlib.suppress(Exception):  # nobody there could look; who asked asks again
                answers = await client.run(
                    worker_tasks.kill_leftovers, boot, tokens, workers=addresses, on_error="ignore"
                )
                self._put("swept", agent, any(answers.values()))

        self._soon(ask)


async def _greet(client: Client) -> None:
    """Make sure that the dask workers know this package, as far as they are there and answer soon."""
    with contextlib.suppress(TimeoutError):
        answers = await asyncio.wait_for(
            client.run(worker_tasks.check_version, worker_tasks.PROTOCOL, on_error="return"), GREETING
        )
        wrong = {f"{answer}" for answer in answers.values() if isinstance(answer, str | ImportError | AttributeError)}
        if wrong - {""}:
            here = importlib.metadata.version("queuectl-nb")
            msg = f"{', '.join(sorted(wrong - {''}))}; install queuectl-nb=={here} where the dask workers run"
            raise RuntimeError(msg)
