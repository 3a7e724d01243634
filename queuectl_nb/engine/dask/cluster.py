"""Which dask cluster a dispatcher talks to: an address and its TLS settings, or a cluster of its own."""

from __future__ import annotations

import contextlib
import json
import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.errors import BadEnvironment, BadInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from distributed import Client, Security

__all__ = ["SECURITY", "Cluster", "connector", "describe", "need_dask", "security_of"]

SECURITY = "QUEUECTL_DASK_SECURITY"
"""The environment variable that hands TLS settings to the dispatcher: a command line could be read by anybody."""
TIMEOUT = 10.0
"""Seconds in which a scheduler must answer, where dask's configuration does not ask for fewer."""


class Cluster(NamedTuple):
    """Where the jobs of a dispatcher run."""

    scheduler: str | None = None
    """Its address; None for a cluster of the dispatcher's own, on its host."""
    security: str | None = None
    """TLS settings as text, see :func:`describe`; None leaves them to dask's configuration."""
    resources: Mapping[str, float] = MappingProxyType({})
    """Of dask, which each running job takes."""


def need_dask() -> None:
    """Raise :class:`BadEnvironment` where dask's distributed is not installed."""
    import importlib.util

    if importlib.util.find_spec("distributed") is None:
        msg = "dask is not installed here: pip install 'queuectl-nb[dask]'"
        raise BadEnvironment(msg)


def describe(client: Any) -> tuple[str, str | None]:
    """Return a client's scheduler address and its TLS settings as text, for a dispatcher of its own to use.

    Raises
    ------
    BadInput
        The client's scheduler, or its TLS settings, cannot be reached from another process.
    """
    if client.scheduler is None:
        msg = "the dask client is closed"
        raise BadInput(msg)
    address = client.scheduler.address
    if address.startswith("inproc://"):
        msg = "the dask client's cluster lives inside this process; make it with LocalCluster(processes=True)"
        raise BadInput(msg)
    security = client.security
    names = type(security).__slots__
    facts = {name: getattr(security, name) for name in names if getattr(security, name, None) not in (None, {})}
    for name in ("tls_min_version", "tls_max_version"):
        if name in facts:
            facts[name] = int(facts[name])
    try:
        return address, json.dumps(facts)
    except TypeError:
        msg = "the dask client's security holds what cannot be told to another process; set it in dask's configuration"
        raise BadInput(msg) from None


def security_of(text: str | None) -> Security | None:
    """Return what :func:`describe` told; None leaves it to dask's own configuration."""
    if not text:
        return None
    import ssl

    from distributed import Security

    facts = json.loads(text)
    for name in ("tls_min_version", "tls_max_version"):
        if name in facts:
            facts[name] = ssl.TLSVersion(facts[name])
    return Security(**facts)


def connector(scheduler: str | None, security: str | None, count: int) -> Callable[[], Any]:
    """Return what makes a connected client; without ``scheduler``, of a cluster on this host for ``count`` jobs."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        import dask
        from dask.utils import parse_timedelta
        from distributed import Client, LocalCluster

        timeout = min(TIMEOUT, parse_timedelta(dask.config.get("distributed.comm.timeouts.connect")))
        common: Mapping[str, Any] = {"asynchronous": True, "timeout": timeout, "set_as_default": False}
        if scheduler is not None:
            async with Client(scheduler, security=security_of(security), **common) as client:
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
