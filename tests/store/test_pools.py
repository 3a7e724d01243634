"""Pools and the sizes that are requested of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store


def test_requested_size(store: Store) -> None:
    """A request reaches one pool; it ends when it is done or taken back, unless a newer one has replaced it."""
    for pool, executor in [(7, "local"), (8, "dask")]:
        facts: dict[str, Any] = {"pool": pool, "host": "here", "queues": (), "now": 1.0, "executor": executor}
        store.workers.register(lambda _: True, **facts)
    assert store.workers.read_pool("here", 7) == ("local", None)
    assert store.workers.read_pool("here", 9) is None
    assert store.workers.read_pool("there", 7) is None
    store.workers.request_size("here", 7, 3)
    assert (store.workers.read_pool("here", 7), store.workers.read_pool("here", 8)) == (("local", 3), ("dask", None))
    store.workers.clear_size("here", 7, 2)
    assert store.workers.read_pool("here", 7) == ("local", 3)
    store.workers.clear_size("here", 7, 3)
    assert store.workers.read_pool("here", 7) == ("local", None)
    store.workers.request_size("here", 7, 5)
    store.workers.request_size("here", 7, None)
    assert store.workers.read_pool("here", 7) == ("local", None)
