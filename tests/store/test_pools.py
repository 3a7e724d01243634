"""Pools and the sizes that are requested of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.store.pools import clear_size, read_pool, request_size

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store


def test_requested_size(store: Store) -> None:
    """A request reaches one pool; it ends when it is done or taken back, unless a newer one has replaced it."""
    for pool, executor in [(7, "local"), (8, "dask")]:
        facts: dict[str, Any] = {"pool": pool, "host": "here", "queues": (), "now": 1.0, "executor": executor}
        store.workers.register(lambda _: True, **facts)
    assert read_pool(store.db, "here", 7) == ("local", None)
    assert read_pool(store.db, "here", 9) is None
    assert read_pool(store.db, "there", 7) is None
    request_size(store.db, "here", 7, 3)
    assert (read_pool(store.db, "here", 7), read_pool(store.db, "here", 8)) == (("local", 3), ("dask", None))
    clear_size(store.db, "here", 7, 2)
    assert read_pool(store.db, "here", 7) == ("local", 3)
    clear_size(store.db, "here", 7, 3)
    assert read_pool(store.db, "here", 7) == ("local", None)
    request_size(store.db, "here", 7, 5)
    request_size(store.db, "here", 7, None)
    assert read_pool(store.db, "here", 7) == ("local", None)
