"""A Jupyter server process on loopback with a home directory of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["JupyterProcess", "end_process", "start_module", "wait_for_start"]

FLAGS = (
    "--ServerApp.open_browser=False",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port=0",
    "--ServerApp.allow_root=True",
    "--ServerApp.terminals_enabled=False",
)


def start_module(
    words: Sequence[str], folder: Path, log: Path, variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start ``python -m MODULE ARG...`` in a session of its own, with more environment variables."""
    inherited = {name: value for name, value in os.environ.items() if name != "QUEUECTL_DB"}
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            env={**inherited, **variables},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for_start(process: subprocess.Popen[bytes], answers: Callable[[], Any], timeout_s: float, log: Path) -> Any:
    """Wait until a server answers and return that; otherwise end it, and fail with the end of its log."""
    try:
        return until(answers, timeout_s)
    except AssertionError:
        end_process(process)
        msg = f"{process.args!r} did not start:\n{log.read_text('utf-8', 'replace')[-3000:]}"
        raise AssertionError(msg) from None


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Terminate a server; kill it if that takes more than a minute."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(60)


class JupyterProcess:
    """``python -m MODULE`` on a free port: its ``url``, ``port`` and ``token``, and ``root``, the folder it shows."""

    def __init__(self, module: str, home: Path, *flags: str, **environment: str) -> None:
        """Start it, with more ``flags`` and variables, and wait until it answers."""
        self.token = secrets.token_hex(16)
        self.root = home / "work"
        self.log = home / "server.log"
        self._runtime = home / "runtime"
        for each in (self.root, self._runtime):
            each.mkdir()
        homes = {
            "HOME": home,
            "JUPYTER_CONFIG_DIR": home / "config",
            "JUPYTER_DATA_DIR": home / "data",
            "JUPYTER_RUNTIME_DIR": self._runtime,
            "IPYTHONDIR": home / "ipython",
            "XDG_DATA_HOME": home / "share",
        }
        others = (f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.root}")
        variables = {
            **{name: str(path) for name, path in homes.items()},
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            **environment,
        }
        self.process = start_module([module, *FLAGS, *others, *flags], self.root, self.log, variables)
        self.url, self.port = wait_for_start(self.process, self._answers, 60, self.log)

    def _answers(self) -> tuple[str, int] | None:
        """Return the server's address and port once it answers there."""
        assert self.process.poll() is None
        for path in self._runtime.glob("jpserver-*.json"):
            with suppress(OSError, ValueError, KeyError):
                info = json.loads(path.read_text("utf-8"))
                with urlopen(f"{info['url']}api?token={self.token}", timeout=5):
                    return str(info["url"]), int(info["port"])
        return None

    def close(self) -> None:
        """Stop the server and its kernels."""
        end_process(self.process)
