"""Runs a notebook in the process of its job.

The kernel is a child of this process and belongs to the tree of the job, which ends as a whole. It is reached through
sockets in a private directory: no TCP port is used, and notebooks that run in parallel cannot meet. The executed
notebook replaces its file after each cell, so that whatever ends this process leaves a readable one.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from queuectl_nb.child.blob import PARTIAL
from queuectl_nb.child.payload import Arguments, ValueMissing
from queuectl_nb.child.reply import print_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuectl_nb.child.reply import Reply

__all__ = ["OutputFile", "run"]

SOCKETS = "queuectl-kernel-"
MAX_BASE_BYTES = 60
"""The path of a socket has at most 107 bytes."""
STRAY_AGE_S = 60.0


def run(request: Mapping[str, Any], reply: Reply) -> int:
    """Run the notebook of ``request``; return the exit code. Its value is the name of the executed notebook."""
    notebook = request["notebook"]
    if importlib.util.find_spec("papermill") is None:
        reply.write({"not_started": f"papermill is not installed for {sys.executable}"})
        return 1
    # without it, jsonschema checks no URIs in other alphabets, which notebooks do not have; with it, nbformat takes a
    # second longer to import
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None: cannot be imported
    from queuectl_nb.child.notebook_engine import execute

    specs = KernelSpecManager()
    specs.kernel_dirs = [*specs.kernel_dirs, notebook["kernel_dir"]]
    try:
        specs.get_kernel_spec(notebook["kernel"])
        source = Arguments(request).blob(notebook["source"]).decode()
    except NoSuchKernel:
        valid = ", ".join(sorted(specs.find_kernel_specs())) or "none"
        reply.write({"not_started": f"kernel {notebook['kernel']} does not exist any more; valid: {valid}"})
        return 1
    except ValueMissing as error:
        reply.write({"error": f"{error}", "final": True})
        return 1
    file = OutputFile(f"{os.environ['QUEUECTL_ARTIFACTS']}/{notebook['name']}")
    with _socket_folder() as folder:
        code, error_text = execute(notebook, source, file, specs, folder)
    if error_text is None and file.error is not None:
        code, error_text = 1, f"the executed notebook cannot be written: {file.error.strerror}"
    done = {"call": 0, "raised": False, "result": json.dumps(notebook["name"])}
    reply.write(done if error_text is None else {"error": error_text})
    return code


class OutputFile:
    """Writes the executed notebook; a handler for papermill.

    Only the last write has to succeed: what the notebook does is worth more than a look at it while it runs.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._count = 0
        self.error: OSError | None = None
        """Why the last write has failed."""

    def write(self, text: str, path: str) -> None:
        """Replace the file."""
        self._count += 1  # a signal handler may write while this is writing
        temporary = f"{self.path}.{self._count}{PARTIAL}"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
            os.replace(temporary, self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if self.error is None:
                print_error(f"the executed notebook cannot be written: {error.strerror}\n")
            self.error = error
        else:
            self.error = None

    @staticmethod
    def pretty_path(path: str) -> str:
        """Return the path for messages of papermill."""
        return path


@contextlib.contextmanager
def _socket_folder() -> Iterator[str]:
    """Create a private directory for the sockets of a kernel; remove those of jobs that were killed."""
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > MAX_BASE_BYTES:
        base = "/tmp"  # noqa: S108 - the directory in it is private
    _remove_strays(base)
    folder = tempfile.mkdtemp(prefix=SOCKETS, dir=base)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _remove_strays(base: str) -> None:
    """Remove directories that no process has locked."""
    with os.scandir(base) as entries:
        names = [each.path for each in entries if each.name.startswith(SOCKETS)]
    for path in names:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # somebody else's, or gone
            continue
        try:
            if os.fstat(handle).st_mtime < time.time() - STRAY_AGE_S:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)
