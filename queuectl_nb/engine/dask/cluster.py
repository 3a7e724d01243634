"""The dask cluster that a dispatcher uses: an address with TLS settings, or a local cluster of its own."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import os
import pickle
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.errors import BadEnvironment, BadInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from distributed import Client

__all__ = ["SECURITY_VARIABLE", "Cluster", "address_of", "make_connect", "require_dask"]

SECURITY_VARIABLE = "QUEUECTL_DASK_SECURITY"
"""The environment variable that passes TLS settings to the dispatcher, since anybody can read a command line."""
CONNECT_TIMEOUT_S = 10.0
"""How long a scheduler may take to answer, unless dask's configuration says less."""


class Cluster(NamedTuple):
    """Where the jobs of a dispatcher run."""

    scheduler: str | None = None
    """The scheduler's address; None for a local cluster of the dispatcher's own."""
    security: str | None = None
    """TLS settings from :func:`address_of`; None to use dask's configuration."""
    resources: Mapping[str, float] = MappingProxyType({})
    """The dask resources that each running job needs."""


def require_dask() -> None:
    """Raise :class:`BadEnvironment` if dask's distributed is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise BadEnvironment("dask is not installed here: pip install 'queuectl-nb[dask]'")


def address_of(client: Any) -> tuple[str, str | None]:
    """Return a client's scheduler address and its TLS settings as text.

    Raises
    ------
    BadInput
        Another process cannot use the client's scheduler or its TLS settings.
    """
    if client.scheduler is None:
        raise BadInput("the dask client is closed")
    address = client.scheduler.address
    if address.startswith("inproc://"):
        raise BadInput("the dask client's cluster lives inside this process; make it with LocalCluster(processes=True)")
    try:
        return address, base64.b64encode(pickle.dumps(client.security)).decode()
    except (pickle.PicklingError, TypeError, AttributeError):
        msg = "the dask client's security cannot be passed to another process; set it in dask's configuration"
        raise BadInput(msg) from None


def make_connect(scheduler: str | None, security: str | None, count: int) -> Callable[[], Any]:
    """Return a function that connects a client; without ``scheduler``, to a new local cluster for ``count`` jobs."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        import dask
        from dask.utils import parse_timedelta
        from distributed import Client, LocalCluster

        timeout = min(CONNECT_TIMEOUT_S, parse_timedelta(dask.config.get("distributed.comm.timeouts.connect")))
        common: Mapping[str, Any] = {"asynchronous": True, "timeout": timeout, "set_as_default": False}
        if scheduler is not None:
            tls = pickle.loads(base64.b64decode(security)) if security else None
            async with Client(scheduler, security=tls, **common) as client:
                yield client
            return
        processes = max(1, min(count, os.cpu_count() or 1))
        async with (
            LocalCluster(
                n_workers=processes,
                threads_per_worker=-(-count // processes),
                dashboard_address=None,
                worker_dashboard_address=None,
                asynchronous=True,
            ) as cluster,
            Client(cluster, **common) as client,
        ):
            yield client

    return connect
