"""A Jupyter server process on loopback with a home directory of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.request import urlopen

from tests.engine.harness import until

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["JupyterProcess", "end_process"]

FLAGS = (
    "--ServerApp.open_browser=False",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port=0",
    "--ServerApp.allow_root=True",
    "--ServerApp.terminals_enabled=False",
)


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
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *FLAGS, *others, *flags],
                env={
                    **{name: value for name, value in os.environ.items() if name != "QUEUECTL_DB"},
                    **{name: str(path) for name, path in homes.items()},
                    "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
                    **environment,
                },
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.url, self.port = until(self._answers, 60)
        except AssertionError:
            self.close()
            msg = f"{module} did not start:\n{self.log.read_text('utf-8', 'replace')[-3000:]}"
            raise AssertionError(msg) from None

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
