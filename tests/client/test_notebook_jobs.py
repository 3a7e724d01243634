"""Notebooks as jobs: the executed notebook, the log, errors, and what happens to the kernel."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import psutil
import pytest

from queuectl_nb import BadInput, JobCancelled, JobFailed
from queuectl_nb.child import notebook
from queuectl_nb.child.notebook import OutputFile, run
from queuectl_nb.client.batch import Batch
from queuectl_nb.client.metrics import finished_values
from queuectl_nb.client.notebook_file import read_notebook
from queuectl_nb.store.artifacts import artifact_dir, list_artifacts
from queuectl_nb.testing import temporary_queue
from tests.client.test_notebook import write
from tests.engine.harness import alive, fill_disk, until

pytestmark = pytest.mark.timeout(300)  # the first test waits for all notebooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb import Job, Queue

TIMEOUT_S = 60.0
VALUES: dict[str, Any] = {
    "text": "a \"quoted\" 'text'\nof \\ lines \N{SNOWMAN}",
    "none": None,
    "nested": [1, [2.5, {"k": [True, None]}]],
    "large": 2**80,
    "nan": math.nan,
    "inf": [math.inf, -math.inf],
}
SHOW = """
import json, multiprocessing, os, psutil
from queuectl_nb import current_job
os.chdir("/")
print(json.dumps({
    "values": [text, none, nested, large, repr(nan), repr(inf)],
    "folder": here,
    "job": current_job().id,
    "ports": [len((getattr(each, "net_connections", None) or each.connections)("inet"))
              for each in (psutil.Process(), psutil.Process().parent())],
    "kernel": os.getpid(),
}))
child = multiprocessing.get_context("fork").Process(target=lambda: print("from a fork", flush=True))
child.start()
child.join()
"""
MEET = """
import os, time
open(name, "w").close()
while not (os.path.exists("a") and os.path.exists("b")):
    time.sleep(0.01)
"""
SOURCES: dict[str, tuple[str, ...]] = {
    "values": ("text = none = nested = large = nan = inf = 0", "import os\nhere = os.getcwd()", SHOW, "6 * 7"),
    "error": ("n = 1", "print('before')", "raise ValueError('bad\\nregion')", "print('after')"),
    "exit": ("n = 1", "import sys; sys.exit(3)"),
    "end": ("n = 1", "import sys; sys.exit()", "raise ValueError"),
    "quit": ("n = 1", "exit()", "raise ValueError"),
    "death": ("n = 1", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
    "own": ("n = 1", "import os, shutil; shutil.rmtree(os.environ['QUEUECTL_ARTIFACTS'])"),
    "empty": (),
    "allowed": ("n = 1", "raise ValueError('expected')", "print('after')"),
    "later": ("n = 1", "raise ValueError('expected')", "raise KeyError('not expected')"),
}


@pytest.fixture(scope="module")
def served() -> Iterator[Queue]:
    """Return a queue with two workers, for the whole module."""
    with temporary_queue() as queue, queue.start_workers(2):
        yield queue


@pytest.fixture(scope="module")
def finished(served: Queue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """Run the notebooks above and return their jobs."""
    folder = tmp_path_factory.mktemp("notebooks {x}")
    jobs = {}
    for name, sources in SOURCES.items():
        path = write(folder / f"{name}.ipynb", *sources, tagged=bool(sources))
        if name in ("allowed", "later"):
            content = nbformat.read(path, as_version=4)
            content.cells[1].metadata["tags"] = ["raises-exception"]
            nbformat.write(content, path)
        parameters = VALUES if name == "values" else {}
        jobs[name] = served.enqueue_notebook(path, parameters, id=name, max_retries=1)
        path.unlink()
    rows = [{"name": name, "tags": [f"row-{name}"]} for name in "ab"]
    path = write(folder / "meet.ipynb", "name = ''", MEET)
    jobs |= {f"meet-{job.tags[0]}": job for job in served.enqueue_notebooks(path, rows, timeout="1m")}
    served.wait(timeout=4 * TIMEOUT_S)
    return jobs


def executed(job: Job) -> Any:
    """Return the executed notebook of the latest attempt."""
    attempt = job.history[-1]
    folder = artifact_dir(job._queue.store.db.output_dir, attempt.token)
    (artifact,) = list_artifacts(folder)
    return nbformat.read(f"{folder}/{artifact.name}", as_version=4)


def shown_by(job: Job) -> Any:
    """Return what the third cell has printed first."""
    return json.loads(executed(job).cells[3].outputs[0].text.splitlines()[0])


def test_executed_notebook(finished: dict[str, Job]) -> None:
    """The result is the path of the executed notebook; it has the parameters, also those that JSON does not have."""
    job = finished["values"]
    path = job.result()
    assert (path.name, job.state, job.progress) == ("values.ipynb", "completed", 1)
    assert job.to_dict()["result"] == "values.ipynb"
    assert job.kind == "notebook"
    assert job.timeout == 0
    assert job.command.startswith("values.ipynb(text=")
    content = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert content["metadata"]["papermill"]["parameters"]["nan"] == "NaN"
    assert content["metadata"]["papermill"]["input_path"] == "values.ipynb"
    shown = shown_by(job)
    text, none, nested, large, _, _ = VALUES.values()
    assert shown["values"] == [text, none, nested, large, "nan", "[inf, -inf]"]
    assert shown["job"] == "values"
    assert path.stat().st_mode & 0o777 == 0o600


def test_results_of_notebooks(finished: dict[str, Job], served: Queue) -> None:
    """``results`` of a batch has a column per parameter, and the path of the executed notebook."""
    frame = served.results(Batch(served, [finished["meet-row-a"].id, finished["meet-row-b"].id, "values"]))
    assert frame.name.to_list()[:2] == ["a", "b"]
    assert frame.text[2] == VALUES["text"]
    assert math.isnan(frame.nan[2])
    assert frame.state.to_list() == ["completed"] * 3
    assert frame.result[2] == finished["values"].result()


def test_surroundings(finished: dict[str, Job]) -> None:
    """A notebook runs in its folder; neither kernel nor job has a port; the kernel has ended."""
    job = finished["values"]
    shown = shown_by(job)
    assert shown["folder"] == job.cwd
    assert "notebooks {x}" in job.cwd
    assert shown["ports"] == [0, 0]
    assert not alive(shown["kernel"])


def test_log(finished: dict[str, Job]) -> None:
    """The log has what the cells printed, their results as text, and the traceback of an error."""
    assert finished["values"].log("stdout").endswith("\nfrom a fork\n42\n")
    error = finished["error"]
    assert error.log("stdout") == "before\n"
    assert "ValueError" in error.log("stderr")
    assert "bad" in error.log("stderr")


def test_error(finished: dict[str, Job]) -> None:
    """An error names the cell; the executed notebook of the failed attempt is kept, up to this cell."""
    job = finished["error"]
    assert (job.state, job.exit_code, job.error) == ("dead", 1, "In [3]: ValueError: bad region")
    assert 0 < job.progress < 1
    with pytest.raises(JobFailed, match=r"In \[3\]: ValueError: bad region"):
        job.result()
    cells = [cell for cell in executed(job).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [1, 2, 3, None]
    assert [output.output_type for output in cells[2].outputs] == ["error"]


def test_error_that_is_allowed(finished: dict[str, Job]) -> None:
    """The error of a cell with the tag ``raises-exception`` fails nothing, and hides no later one."""
    job = finished["allowed"]
    assert (job.state, job.log("stdout")) == ("completed", "after\n")
    cells = executed(job).cells
    assert [cell.cell_type for cell in cells] == ["code"] * 3  # no markers of an error
    assert [output.output_type for output in cells[1].outputs] == ["error"]
    assert (finished["later"].state, finished["later"].error) == ("dead", "In [3]: KeyError: 'not expected'")


def test_exits(finished: dict[str, Job]) -> None:
    """``sys.exit`` ends the notebook, with its exit code; so does ``exit``."""
    assert (finished["exit"].exit_code, finished["exit"].error) == (3, "In [2]: SystemExit: 3")
    assert (finished["end"].state, finished["quit"].state) == ("completed", "completed")
    assert finished["end"].result().name == "end.ipynb"
    assert finished["empty"].state == "completed"


def test_kernel_that_dies(finished: dict[str, Job]) -> None:
    """A kernel that dies is an error of its cell, in the notebook as well."""
    job = finished["death"]
    assert job.error == "In [2]: DeadKernelError: the kernel died: killed by SIGKILL"
    cells = [cell for cell in executed(job).cells if cell.cell_type == "code"]
    assert cells[1].outputs[0].evalue == "the kernel died: killed by SIGKILL"


def test_folder_of_artifacts_removed(finished: dict[str, Job]) -> None:
    """If the executed notebook cannot be written, the attempt has failed."""
    assert finished["own"].error == "the executed notebook cannot be written: No such file or directory"


def test_card(finished: dict[str, Job]) -> None:
    """The card shows the notebook with its parameters, the error, and where the executed notebook is."""
    card = finished["error"]._card()
    assert card is not None
    text = card.text
    assert "notebook: error.ipynb" in text
    assert "error: In [3]: ValueError: bad region" in text
    (path,) = finished["error"].artifacts.values()
    assert f"executed notebook: {path}" in text
    assert "cell 3 of 4" in text
    assert "error.ipynb" in card.html


def test_cells_as_metrics(finished: dict[str, Job]) -> None:
    """A notebook reports the cell that it is at, of how many, and the share of those that are done."""
    job = finished["error"]
    assert job.metrics == {"cell": 3, "cells": 4}
    assert job.progress == 0.5
    assert finished["values"].metrics == {"cell": 5, "cells": 5}
    assert finished_values(job._queue.store, [job.record]) == {}  # tables show no line for them


def test_rows(finished: dict[str, Job]) -> None:
    """One job per row, with fields of the job among the columns; two notebooks run at the same time."""
    jobs = [finished["meet-row-a"], finished["meet-row-b"]]
    assert [job.state for job in jobs] == ["completed", "completed"]
    assert [job.command for job in jobs] == ["meet.ipynb(name='a')", "meet.ipynb(name='b')"]
    assert len({job.result() for job in jobs}) == 2


def test_value_as_argument(served: Queue, finished: dict[str, Job]) -> None:
    """A notebook among the arguments of a function is replaced by the path of the executed notebook."""
    found = served.submit(lambda path: path, finished["values"]).result(TIMEOUT_S)
    assert found == finished["values"].result()


def test_deleted_notebook(finished: dict[str, Job]) -> None:
    """The result of a job whose executed notebook was removed is None."""
    job = finished["end"]
    job.result().unlink()
    assert job.result() is None


ENDLESS = ("n = 1", "import os, time; print('pid', os.getpid(), flush=True)\nwhile True: time.sleep(0.01)")


def start_endless(queue: Queue, path: Path, **options: Any) -> tuple[Job, int]:
    """Start a notebook that never ends; return its job and the pid of its kernel, which the log shows."""
    job = queue.enqueue_notebook(write(path / "endless.ipynb", *ENDLESS), max_retries=1, **options)
    text = until(lambda: job.state == "processing" and job.log("stdout").partition("pid ")[2].strip())
    return job, int(text)


@pytest.mark.parametrize("end", ["cancel", "kill job", "kill worker"])
def test_kernel_does_not_outlive_its_job(served: Queue, tmp_path: Path, end: str) -> None:
    """However a job ends, its kernel ends, and what was executed is kept; of a cancelled one with the output so far."""
    job, kernel = start_endless(served, tmp_path)
    attempt = job.history[-1]
    if end == "cancel":
        job.cancel()
    elif end == "kill job":
        os.kill(until(lambda: job.history[-1].pid), signal.SIGKILL)
    else:
        os.kill(int(served.workers()["pid"][attempt.worker]), signal.SIGKILL)
    until(lambda: job.refresh().is_finished)
    assert not alive(kernel)
    expected = {"cancel": "cancelled", "kill job": "failed", "kill worker": "lost"}
    assert job.history[-1].outcome == expected[end]
    cell = executed(job).cells[1]
    assert "while True" in cell.source
    if end == "cancel":
        assert cell.outputs[0].text.startswith("pid ")
        with pytest.raises(JobCancelled):
            job.result()


def test_timeout(served: Queue, tmp_path: Path) -> None:
    """A notebook that never ends is ended by its timeout, with its kernel."""
    job = served.enqueue_notebook(write(tmp_path / "x.ipynb", *ENDLESS), max_retries=1, timeout=2)
    until(lambda: job.refresh().is_finished)
    assert job.history[-1].outcome == "timed_out"
    token = f"QUEUECTL_ATTEMPT_TOKEN={job.history[-1].token}"
    assert not [each for each in psutil.process_iter() if token in _environment(each)]


def _environment(process: psutil.Process) -> list[str]:
    try:
        return [f"{key}={value}" for key, value in process.environ().items()]
    except psutil.Error:
        return []


@pytest.fixture
def own_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], Path]:
    """Return a function that makes the kernel ``own`` with a command, where only this process finds it."""

    def make(argv: list[str]) -> Path:
        folder = tmp_path / "kernels" / "own"
        folder.mkdir(parents=True)
        spec = {"argv": argv, "display_name": "own", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec))
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
        return folder

    return make


def test_kernel_of_the_enqueuer(served: Queue, tmp_path: Path, own_kernel: Callable[[list[str]], Path]) -> None:
    """A kernel that only the enqueuer finds is used, with its interpreter; removed until the run, it is named."""
    interpreter = tmp_path / "python-of-the-kernel"
    interpreter.write_text(f'#!/bin/sh\nexport OWN=1\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    folder = own_kernel([str(interpreter), "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    path = write(tmp_path / "x.ipynb", "import os\nassert os.environ['OWN']", kernel="own")
    assert served.enqueue_notebook(path, max_retries=1).result(TIMEOUT_S)
    served.pause("later")
    job = served.enqueue_notebook(path, queue="later")
    shutil.rmtree(folder)
    served.resume("later")
    until(lambda: job.refresh().is_finished)
    assert job.history[-1].outcome == "not_started"
    assert job.state == "dead"
    assert "kernel own does not exist any more; valid: " in job.error
    assert "python3" in job.error


def test_kernel_that_does_not_start(served: Queue, tmp_path: Path, own_kernel: Callable[[list[str]], Path]) -> None:
    """A kernel that ends at once fails the attempt, named."""
    own_kernel(["false"])
    job = served.enqueue_notebook(write(tmp_path / "x.ipynb", "n = 1", kernel="own"), max_retries=1)
    with pytest.raises(JobFailed, match="kernel own: RuntimeError: Kernel died before replying"):
        job.result(TIMEOUT_S)


def test_refused_rows(queue: Queue, tmp_path: Path) -> None:
    """An error names its row, and nothing is enqueued."""
    path = write(tmp_path / "x.ipynb", "n = 1")
    with pytest.raises(BadInput, match=r"row 2: parameter of x\.ipynb, 'm' is unknown; valid: n"):
        queue.enqueue_notebooks(path, [{"n": 1}, {"m": 1}])
    with pytest.raises(BadInput, match=r"row 2: job a is already|row 2: job a occurs twice"):
        queue.enqueue_notebooks(path, [{"n": 1, "id": "a"}, {"n": 2, "id": "a"}])
    with pytest.raises(BadInput, match="the rows must be a DataFrame or a list of dicts"):
        queue.enqueue_notebooks(path, {"n": 1})  # type: ignore[dict-item]
    with pytest.raises(BadInput, match="row 1 must be a dict of parameters"):
        queue.enqueue_notebooks(path, [5])  # type: ignore[list-item]
    with pytest.raises(BadInput, match="job option 'shell' is unknown"):
        queue.enqueue_notebook(path, shell="bash")
    assert not len(queue.jobs())


def test_full_disk(small_disk: Path) -> None:
    """On a full disk the last complete notebook stays; only the last write counts."""
    file = OutputFile(str(small_disk / "x.ipynb"))
    file.write("first", file.path)
    ballast = small_disk / "ballast"
    fill_disk(ballast)
    file.write("second" * 10_000, file.path)
    assert file.error is not None
    assert file.error.strerror == "No space left on device"
    assert (small_disk / "x.ipynb").read_text() == "first"
    assert sorted(os.listdir(small_disk)) == ["ballast", "x.ipynb"]
    ballast.unlink()
    file.write("third", file.path)
    assert file.error is None
    assert (small_disk / "x.ipynb").read_text() == "third"


class Lines:
    """Keeps the lines of a reply."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def write(self, entry: Any) -> None:
        """Append a line."""
        self.lines.append(entry)


def test_papermill_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If papermill is gone when the job runs, the job is not started."""
    found = read_notebook(write(tmp_path / "x.ipynb", "n = 1"))
    monkeypatch.setitem(sys.modules, "papermill", None)
    reply = Lines()
    request = {"notebook": {"kernel": found.kernel, "kernel_dir": found.kernel_dir}}
    assert run(request, reply) == 1  # type: ignore[arg-type]
    assert reply.lines == [{"not_started": f"papermill is not installed for {sys.executable}"}]


def test_grammars_that_take_a_second_to_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """``jsonschema`` cannot import what it needs for URIs with letters of other alphabets; notebooks have none."""
    monkeypatch.delitem(sys.modules, "rfc3987_syntax", raising=False)
    assert run({"notebook": {"kernel": "none", "kernel_dir": ""}}, Lines()) == 1  # type: ignore[arg-type]
    assert sys.modules["rfc3987_syntax"] is None


def test_sockets_of_killed_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of a kernel is private and removed at the end, that of a killed job by the next one."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names = {name: tmp_path / f"{notebook.SOCKETS}{name}" for name in ("left", "locked", "new")}
    for name, path in names.items():
        path.mkdir()
        (path / "kernel-ipc-1").touch()
        if name != "new":
            os.utime(path, (0, 0))
    (tmp_path / "other").mkdir()
    (tmp_path / f"{notebook.SOCKETS}link").symlink_to(tmp_path / "other")
    handle = os.open(names["locked"], os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        with notebook._socket_folder() as folder:
            assert Path(folder).stat().st_mode & 0o777 == 0o700
            assert [name for name, path in names.items() if path.exists()] == ["locked", "new"]
            assert os.path.dirname(folder) == str(tmp_path)
        assert not os.path.exists(folder)
        assert (tmp_path / "other").exists()
    finally:
        os.close(handle)
