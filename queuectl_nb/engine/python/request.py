"""What the process of a Python job is started with: its interpreter, and the request on a descriptor."""

from __future__ import annotations

import marshal
import os
from typing import TYPE_CHECKING, Any

from queuectl_nb import child
from queuectl_nb.engine.executor import CannotStart
from queuectl_nb.model.call import Kind
from queuectl_nb.store.regular_file import Descriptor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.spool import Spool

__all__ = ["MARSHAL_VERSION", "command_line", "with_call", "write_request"]

MARSHAL_VERSION = 2
"""The newest version that all Python versions read alike."""
_START = os.path.join(os.path.dirname(child.__file__), "start.py")


def with_call(db: Database, lease: Lease, *, ship_blobs: bool = False) -> Lease:
    """Return the lease of a Python job with what it runs, all of its content included if ``ship_blobs``.

    Raises :class:`CannotStart` if it does not exist.
    """
    if lease.kind == Kind.COMMAND:
        return lease
    from queuectl_nb.store.calls import load_call

    try:
        return lease._replace(call=load_call(db, lease, read_files=ship_blobs))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CannotStart("its payload is damaged", final=True) from error
    except LookupError as error:
        raise CannotStart(error.args[0], final=True) from None
    except OSError as error:
        msg = f"{error.filename}: {error.strerror}"
        raise CannotStart(msg, final=True) from error


def command_line(call: Mapping[str, Any], handle: int) -> list[str]:
    """Return program and arguments of the process that reads its request from the descriptor ``handle``."""
    executable = call["runtime"]["executable"]
    return [executable, executable, _START, str(handle)]


def write_request(request: Mapping[str, Any], spool: Spool) -> Descriptor:
    """Return a descriptor from which the process of a Python job reads its request."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("request", os.MFD_CLOEXEC)
    else:
        import tempfile

        handle, path = tempfile.mkstemp(dir=spool.folder)
        os.unlink(path)
    with os.fdopen(os.dup(handle), "wb") as file:
        marshal.dump(dict(request), file, MARSHAL_VERSION)
    os.lseek(handle, 0, os.SEEK_SET)
    return Descriptor(handle)
