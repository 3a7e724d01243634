"""Where a pool's jobs run: on this machine, or on a dask cluster that a user names in one of three ways."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask.cluster import Cluster, describe, need_dask
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.validation import parse_choice, parse_number, parse_text, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXECUTORS", "MAX_IN_FLIGHT", "parse_cluster"]

EXECUTORS = ("local", "dask")
MAX_IN_FLIGHT = 5000
"""Most jobs that one dispatcher has running at a time."""
MAX_RESOURCE = 1e9
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z")


def parse_cluster(
    executor: str,
    *,
    scheduler: str | None = None,
    client: Any = None,
    resources: Mapping[str, Any] | None = None,
) -> Cluster | None:
    """Return the cluster that is meant; None for this machine.

    Raises
    ------
    BadInput
        The words do not go together, or an address or a resource is none.
    BadEnvironment
        dask is not installed.
    """
    if parse_choice("executor", executor, EXECUTORS) == "local":
        for what, value in (("scheduler", scheduler), ("client", client), ("resource", resources)):
            if value:
                msg = f"{what} goes with the executor dask only"
                raise BadInput(msg)
        return None
    takes = dict(_parse_resource(key, value) for key, value in (resources or {}).items())
    need_dask()
    if client is not None and scheduler is not None:
        msg = "give a client or a scheduler's address, not both"
        raise BadInput(msg)
    if client is not None:
        address, security = describe(client)
        return Cluster(address, security, takes)
    if scheduler is not None and not parse_text("scheduler", scheduler).strip():
        msg = "scheduler is empty; give its address, such as tcp://10.0.0.1:8786"
        raise BadInput(msg)
    return Cluster(scheduler, None, takes)


def _parse_resource(key: object, value: object) -> tuple[str, float]:
    if isinstance(key, str) and _RESOURCE.match(key):
        return key, parse_number(f"resource {key}", value, 0.0, MAX_RESOURCE)
    msg = f"resource {quoted(key)} is not valid: a letter first, then letters, digits and . _ -"
    raise BadInput(msg)
