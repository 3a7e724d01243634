"""Configuration that an ipykernel loads before it opens its sockets (``--config``); imports nothing of this package.

Processes that a cell forks send their output to the kernel, for which ipykernel listens on a TCP port, whatever the
transport of its other sockets is. Here this is a socket in the private directory of the kernel.
"""

import os
from collections.abc import Callable
from typing import Any

import zmq
from ipykernel.iostream import IOPubThread
from ipykernel.kernelapp import IPKernelApp

__all__ = ["use_socket"]


def use_socket(address: str) -> None:
    """Make the kernel of this process listen at ``address`` for the output of forked processes."""

    def replace(name: str, use: Callable[[Any, str], Any], original: Callable[[IOPubThread], Any]) -> Any:
        """Return a method that calls ``original`` while the method ``name`` of sockets uses our address."""

        def wrapped(thread: IOPubThread) -> Any:
            own = getattr(zmq.Socket, name)
            setattr(zmq.Socket, name, lambda socket, _: use(socket, address) and 0)
            try:
                return original(thread)
            finally:
                setattr(zmq.Socket, name, own)

        return wrapped

    thread: Any = IOPubThread
    thread._setup_pipe_in = replace("bind_to_random_port", zmq.Socket.bind, thread._setup_pipe_in)  # noqa: SLF001
    thread._setup_pipe_out = replace("connect", zmq.Socket.connect, thread._setup_pipe_out)  # noqa: SLF001


if "get_config" in globals():  # loaded as configuration, not imported
    use_socket(f"ipc://{os.path.dirname(IPKernelApp.instance().connection_file)}/forks")
