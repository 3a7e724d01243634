"""Which dask cluster a dispatcher uses: an address with TLS settings, or a local cluster of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.errors import BadEnvironment, BadInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from distributed import Client, Security

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
    """TLS settings as JSON, see :func:`address_of`; None to use dask's configuration."""
    resources: Mapping[str, float] = MappingProxyType({})
    """The dask resources that each running job needs."""


def require_dask() -> None:
    """Raise :class:`BadEnvironment` if dask's distributed is not installed."""
    if importlib.util.find_spec("distributed") is None:
        msg = "dask is not installed here: pip install 'queuectl-nb[dask]'"
        raise BadEnvironment(msg)


def address_of(client: Any) -> tuple[str, str | None]:
    """Return a client's scheduler address and its TLS settings as JSON.

    Raises
    ------
    BadInput
        Another process cannot use the client's scheduler or its TLS settings.
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
    settings = {name: getattr(security, name) for name in names if getattr(security, name, None) not in (None, {})}
    for name in ("tls_min_version", "tls_max_version"):
        if name in settings:
            settings[name] = int(settings[name])
    try:
        return address, json.dumps(settings)
    except TypeError:
        msg = "the dask client's security cannot be passed to another process; set it in dask's configuration"
        raise BadInput(msg) from None


def _parse_security(text: str | None) -> Security | None:
    """Return the TLS settings from :func:`address_of`; None to use dask's configuration."""
    if not text:
        return None
    import ssl

    from distributed import Security

    settings = json.loads(text)
    for name in ("tls_min_version", "tls_max_version"):
        if name in settings:
            settings[name] = ssl.TLSVersion(settings[name])
    return Security(**settings)


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
            async with Client(scheduler, security=_parse_security(security), **common) as client:
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
