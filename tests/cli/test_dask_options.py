"""Invalid options of ``worker start --executor dask``: one line, the right exit code, nothing started."""

from __future__ import annotations

import importlib.util
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.client.workers import list_workers
from queuectl_nb.model.errors import BadEnvironment, BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.conftest import Ran

DASK = ("--executor", "dask")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--executor", "slurm"), "valid: local, dask"),
        (("--scheduler", "tcp://10.0.0.1:8786"), "needs the executor dask"),
        (("--resource", "GPU=1"), "needs the executor dask"),
        ((*DASK, "--resource", "GPU"), "K=N"),
        ((*DASK, "--resource", "=1"), "a letter first"),
        ((*DASK, "--resource", "GPU=many"), "plain number"),
        ((*DASK, "--resource", "GPU=-1"), "from 0"),
        ((*DASK, "--scheduler", " "), "tcp://"),
        ((*DASK, "--count", "5001"), "from 1 to 5000"),
        ((*DASK, "--count", "0"), "from 1 to 5000"),
        (("--count", "257"), "from 1 to 256"),
    ],
)
def test_invalid_options(run: Callable[..., Ran], queue: Queue, words: tuple[str, ...], says: str) -> None:
    """Exit code 2, one line that names the valid choices, and no worker."""
    done = run("worker", "start", *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert list_workers(queue.store) == []


def test_dask_is_not_installed(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3 and how to install it."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "distributed" else real(name, *rest)
    )
    done = run("worker", "start", *DASK)
    assert done.exit_code == 3
    assert done.stderr == "queuectl: dask is not installed here: pip install 'queuectl-nb[dask]'\n"


class _FakeClient:
    """The attributes of a dask client that are used."""

    def __init__(self, address: str | None, security: Any) -> None:
        self.scheduler = None if address is None else self
        self.address = address
        self.security = security


class _Security:
    __slots__ = ("extra_conn_args", "tls_ca_file")

    def __init__(self, **facts: Any) -> None:
        for name, value in facts.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("client", "says"),
    [
        (_FakeClient(None, _Security()), "closed"),
        (_FakeClient("inproc://10.0.0.1/1/1", _Security()), "processes=True"),
        (
            _FakeClient("tls://10.0.0.1:1", _Security(extra_conn_args={"ssl_context": ssl.create_default_context()})),
            "configuration",
        ),
    ],
)
def test_unusable_clients(queue: Queue, client: Any, says: str) -> None:
    """A client whose cluster other processes cannot reach is refused with a remedy."""
    pytest.importorskip("distributed")
    with pytest.raises(BadInput, match=says):
        queue.start_workers(1, executor="dask", client=client)
    assert list_workers(queue.store) == []


def test_client_and_address(queue: Queue) -> None:
    """A client and an address together are refused as ambiguous."""
    pytest.importorskip("distributed")
    with pytest.raises((BadInput, BadEnvironment), match="not both"):
        queue.start_workers(
            1, executor="dask", client=_FakeClient("tcp://1.2.3.4:1", _Security()), scheduler="tcp://x:1"
        )
