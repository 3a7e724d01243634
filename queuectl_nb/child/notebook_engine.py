"""The engine with which papermill executes the notebook of a job: our kernel manager, and output to the log."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import papermill.execute
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import raise_for_execution_errors
from papermill.iorw import papermill_io

from queuectl_nb.child.control import report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_client.kernelspec import KernelSpecManager
    from nbformat import NotebookNode

    from queuectl_nb.child.notebook import OutputFile

__all__ = ["execute"]

ENGINE = "queuectl"
CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ipykernel_config.py")
MAY_FAIL = "raises-exception"
"""Tag of a cell after whose error nbclient and JupyterLab go on."""
IOPUB_TIMEOUT_S = 300
"""Time for the output of a cell to arrive after its end; papermill's 4 seconds are too short for much output."""


def execute(
    notebook: Mapping[str, Any], source: str, file: OutputFile, specs: KernelSpecManager, folder: str
) -> tuple[int, str | None]:
    """Execute a notebook, with the sockets of its kernel in ``folder``; return the exit code, and the error."""
    kernel = notebook["kernel"]
    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of parameters that were checked at the enqueue
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # as papermill does: a warning about frozen modules
    papermill_io.register(file.path, file)
    papermill_engines.register(ENGINE, _Engine)
    papermill.execute.raise_for_execution_errors = _raise_for_errors
    manager = AsyncKernelManager(
        kernel_name=kernel, kernel_spec_manager=specs, transport="ipc", connection_file=f"{folder}/kernel.json"
    )
    try:
        papermill.execute.execute_notebook(
            nbformat.reads(source, as_version=4),
            file.path.replace("{", "{{").replace("}", "}}"),  # a template for papermill
            json.loads(notebook["parameters"]),
            engine_name=ENGINE,
            kernel_name=kernel,
            language=notebook["language"],
            progress_bar=False,
            km=manager,
        )
    except PapermillExecutionError as error:
        return _describe(error)
    except Exception as error:  # noqa: BLE001 - of the start of the kernel, whose own message is in the log
        return 1, f"kernel {kernel}: {type(error).__name__}: {_one_line(error)}"
    return 0, None


def _raise_for_errors(notebook: NotebookNode, path: str, check: Any = raise_for_execution_errors) -> None:
    """Raise the error of the cell that failed; papermill's own ``check`` also raises that of a cell that may fail."""
    tags = {tag for cell in notebook.cells for tag in cell.metadata.get("tags", ())}
    if notebook.metadata.papermill["exception"] or MAY_FAIL not in tags:
        check(notebook, path)


def _describe(error: PapermillExecutionError) -> tuple[int, str]:
    """Return exit code and text for the error of a cell, such as ``In [7]: ValueError: bad region``."""
    value = _one_line(error.evalue)
    is_exit = error.ename == "SystemExit" and value.isdecimal()
    text = f"In [{error.exec_count}]: {error.ename}: {value}".removesuffix(": ")
    return int(value) & 255 or 1 if is_exit else 1, text


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


class _Client(PapermillNotebookClient):  # type: ignore[misc]  # not typed
    """Executes the cells; writes their output to that of the job, at once and as text."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, on_cell_executed=self._look_for_exit, **options)
        self._must_exit = False

    def _look_for_exit(self, execute_reply: Mapping[str, Any], **_: object) -> None:
        """Note that a cell has called IPython's ``exit``, which raises nothing: the kernel ends by and by."""
        payload = execute_reply["content"].get("payload", ())
        self._must_exit = any(each.get("source") == "ask_exit" for each in payload)

    def execute_cell(self, cell: NotebookNode, cell_index: int) -> NotebookNode:
        """Execute a cell; if the kernel dies, record that as the error of the cell."""
        count = len(self.nb.cells)
        report(progress=cell_index / count, cell=cell_index + 1, cells=count)
        try:
            done: NotebookNode = super().execute_cell(cell, cell_index)
        except DeadKernelError:
            reason = f"the kernel died{self._exit_status()}"
            error = nbformat.v4.new_output("error", ename="DeadKernelError", evalue=reason, traceback=[reason])
            cell.outputs.append(error)
            cell.execution_count = cell.execution_count or self.code_cells_executed
            self.log_output_message(error)
            self.nb_man.cell_exception(cell, cell_index=cell_index)
            raise
        if self._must_exit:  # as after sys.exit()
            cell.outputs.append(nbformat.v4.new_output("error", ename="SystemExit", evalue="", traceback=[]))
            raise CellExecutionError("", "SystemExit", "")
        return done

    def _exit_status(self) -> str:
        """Return how the process of the kernel has ended."""
        process = getattr(self.km.provisioner, "process", None)
        status = None if process is None else process.poll()
        if status is None:
            return ""
        return f" with exit code {status}" if status >= 0 else f": killed by {signal.Signals(-status).name}"

    def log_output_message(self, output: NotebookNode) -> None:
        """Write an output to the log of the job."""
        stream, text = sys.stdout, ""
        if output.output_type == "stream":
            stream = sys.stderr if output.name == "stderr" else sys.stdout
            text = output.text
        elif output.output_type == "error":
            stream, text = sys.stderr, "\n".join(output.traceback) + "\n"
        elif "text/plain" in output.data:
            text = output.data["text/plain"] + "\n"
        with contextlib.suppress(OSError):  # a full disk must not end the notebook
            stream.write(text)
            stream.flush()


class _Engine(NBClientEngine):  # type: ignore[misc]  # not typed
    """papermill's own engine, with our client and kernel manager."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *, km: AsyncKernelManager, **__: Any) -> None:
        def save_and_exit(number: int, _: object) -> None:  # a timeout, or the job is cancelled
            nb_man.save()
            shutil.rmtree(os.path.dirname(km.connection_file), ignore_errors=True)
            os._exit(128 + number)

        signal.signal(signal.SIGTERM, save_and_exit)
        # NaN and infinities are not JSON: JupyterLab would not open the notebook
        metadata = nb_man.nb.metadata.papermill
        metadata["input_path"] = metadata["output_path"] = os.path.basename(nb_man.output_path)  # it is moved
        metadata["parameters"] = json.loads(json.dumps(metadata["parameters"]), parse_constant=str)
        client = _Client(
            nb_man,
            km=km,
            kernel_name=kernel_name,
            iopub_timeout=IOPUB_TIMEOUT_S,
            log_output=True,
            extra_arguments=_arguments(km),
        )
        with contextlib.suppress(DeadKernelError):  # papermill finds it in the cell's outputs
            client.execute(cleanup_kc=True)
            if not metadata["exception"]:
                report(progress=1)


def _arguments(manager: AsyncKernelManager) -> list[str]:
    """Return arguments for an ipykernel: no history in a file of the user, and no port for forked processes."""
    if manager.kernel_spec is None or not any("ipykernel" in word for word in manager.kernel_spec.argv):
        return []
    return ["--HistoryManager.hist_file=:memory:", f"--config={CONFIG}"]
