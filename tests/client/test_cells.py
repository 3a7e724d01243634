"""Cells as jobs: values, variables, what they display, errors, and cells that misbehave."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from queuectl_nb import BadInput, JobFailed, NotFound, Queue
from queuectl_nb.child.displays import Displays
from queuectl_nb.client import cell as client_cell
from queuectl_nb.store.calls import read_displays
from queuectl_nb.testing import run_pending, temporary_queue
from tests.client.calls import TIMEOUT_S
from tests.client.cells import enqueue_cell
from tests.engine.harness import fill_disk, until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from queuectl_nb.client import Job

FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('t');"
POOL = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

class Point:
    def __init__(self, x):
        self.x = x

def scale(point):
    return Point(point.x * factor)

if GUARD:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        found = [point.x for point in pool.map(scale, [Point(1), Point(2)], timeout=60)]
    print(found)
"""


def run(queue: Queue, source: str, inputs: Mapping[str, Any] | None = None, **options: Any) -> Job:
    """Run a cell with a single attempt and return its finished job."""
    job = enqueue_cell(queue, source, inputs, **{"max_retries": 1, **options})
    job.exception(TIMEOUT_S)
    return job


def displays(job: Job) -> list[dict[str, Any]]:
    """Return the MIME bundles of a job."""
    return [output.get("data", output) for output in read_displays(Queue(job.queue_path).store.db, job.id)]


def test_value_and_variables(served: Queue) -> None:
    """A job has the value of the last expression and the variables that the cell assigned, unpickled one by one."""
    frame = pd.DataFrame({"a": [1, 2]})
    source = "import math\nfrom math import tau\nb = frame.a.sum()\nlr = lr\n_c = big = frame\n{'b': int(b)}"
    job = run(served, source, {"frame": frame, "lr": 0.5})
    assert (job.result(), job.result_repr, job.kind, job.timeout) == ({"b": 3}, "{'b': 3}", "cell", 0)
    assert job.to_dict()["result"] == {"b": 3}
    fresh = Queue(served.path).job(job.id)
    assert (fresh["b"], fresh["lr"]) == (3, 0.5)
    pd.testing.assert_frame_equal(fresh["big"], frame)
    variables = fresh.variables()
    assert list(variables.index) == ["b", "lr", "big"]
    assert list(variables["type"]) == ["numpy.int64", "float", f"{type(frame).__module__}.DataFrame"]
    assert variables["size"].notna().all()
    with pytest.raises(NotFound, match=r"^job job-\d+ assigned no variable frame; it assigned b, lr, big$") as error:
        fresh["frame"]
    assert isinstance(error.value, KeyError)
    with pytest.raises(TypeError):
        iter(fresh)  # type: ignore[call-overload]


def test_cells_without_a_value(served: Queue) -> None:
    """A statement or a semicolon at the end means None, and so does ``sys.exit()``; other codes fail."""
    assert run(served, "x = 1").result() is None
    assert run(served, "x = 1\nx;").result() is None
    assert run(served, "exit()\nx = 1").result() is None
    job = run(served, "x = 1\nimport sys\nsys.exit(3)")
    assert (job.state, job.error, job.exit_code, job["x"]) == ("dead", "exit code 3", 3, 1)


def test_ipython_syntax(served: Queue) -> None:
    """Shell commands, magics, ``await`` and ``display`` work, and their output is in the log in order."""
    source = "!echo {word}\n%time n = 1\nimport asyncio\nawait asyncio.sleep(0)\ndisplay('text')\n[n, word]"
    job = run(served, source, {"word": "a"})
    assert job.result() == [1, "a"]
    lines = job.log("stdout").splitlines()
    assert (lines[0], lines[-2:]) == ("a", ["'text'", "[1, 'a']"])
    assert job.log("stderr") == ""


def test_figures_and_tables(served: Queue) -> None:
    """Figures are shown inline; bundles are kept as they are, and their text is in the log."""
    job = run(served, f"{FIGURE}\nprint('fitted')\nimport pandas as pd\npd.DataFrame({{'a': [1]}})")
    table, figure = displays(job)
    assert "<table" in table["text/html"]
    assert figure["image/png"].startswith("iVBOR")
    assert "<Figure size" in job.log("stdout")
    html = job._repr_html_()
    assert html is not None
    assert 'src="data:image/png;base64,iVBOR' in html
    assert table["text/html"] in html
    assert "Figure size" not in html.replace('alt="&lt;Figure size', "")  # the image takes the place of the text
    assert "<h1>" not in str(run(served, "'<h1>'")._repr_html_())


def test_updated_outputs(served: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    """An updated output replaces the earlier one, and a cleared one is gone, also from card and display."""
    job = run(
        served,
        "from IPython.display import HTML, clear_output\ndisplay(HTML('0'))\n"
        "handle = display('1', display_id=True)\nhandle.update('2')\ndisplay('3')\nclear_output(wait=True)\n"
        "handle = display('4', display_id=True)\nhandle.update('5')\n"
        "handle = display(HTML('6'), display_id=True)\nhandle.update(HTML('7'))",
    )
    name = "<IPython.core.display.HTML object>"
    assert displays(job) == [{"text/plain": "'5'"}, {"text/plain": name, "text/html": "7"}]
    assert job.log("stdout").count(name) == 3
    assert "HTML object" not in str(job._repr_html_())
    capsys.readouterr()
    job.display()
    assert capsys.readouterr().out.count(name) == 1


def test_display(served: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    """It shows what the cell printed and displayed once each, in the order of the cell."""
    source = (
        "import sys\nprint('a\\n12')\ndisplay(2)\nprint('b')\nprint('c', file=sys.stderr)\ndisplay('d')\nprint('e')"
    )
    job = run(served, source)
    capsys.readouterr()
    job.display()
    out, err = capsys.readouterr()
    assert re.findall(r"\b(?:[abde]|\d+)\b", out) == ["a", "12", "2", "b", "d", "e"]
    assert err == "c\n"


def test_display_limit(served: Queue) -> None:
    """What is over the limit is not kept, and the last output says so."""
    served.set("display_limit", 1000)
    try:
        job = run(served, "for n in range(9):\n    display('x' * 300)")
    finally:
        served.unset("display_limit")
    *kept, last = displays(job)
    assert 0 < len(kept) < 4
    assert "the limit is 1,000 bytes (setting display_limit)" in last["text"]
    assert job.log("stdout").count("xxx'\n") == 9


@pytest.mark.parametrize("end", ["timeout", "kill"])
def test_outputs_of_a_cell_that_is_killed(served: Queue, end: str) -> None:
    """They are kept up to the end."""
    source = "import os, time\nx = 1\ndisplay('a')\ndisplay('b')\n"
    source += "print('shown')\ntime.sleep(60)" if end == "timeout" else "os.kill(os.getpid(), 9)"
    job = enqueue_cell(served, source, max_retries=1, timeout=0)
    if end == "timeout":
        until(lambda: "shown" in job.log("stdout"))
        job.edit(timeout=0.01)
    job.exception(TIMEOUT_S)
    assert job.state == "dead"
    assert displays(job) == [{"text/plain": "'a'"}, {"text/plain": "'b'"}]
    with pytest.raises(NotFound, match="assigned no variable x; it assigned none"):
        job["x"]
    with pytest.raises(JobFailed, match=r"SIGKILL|time limit|timed out"):
        job.result()


def test_error(served: Queue) -> None:
    """The log has the traceback with the cell's lines, ``error`` its last one; variables are kept, the error raised."""
    source = "x = 1\n\nclass Odd(Exception): pass\n\ndef f():\n    raise Odd('bad')\n\nf()"
    job = run(served, source)
    assert (job.state, job.error, job.exit_code, job["x"]) == ("dead", "Odd: bad", 1, 1)
    lines = [line for line in job.log("stderr").splitlines() if line.strip(" ~^")]
    assert lines == [
        "Traceback (most recent call last):",
        '  File "<cell>", line 8, in <module>',
        "    f()",
        '  File "<cell>", line 6, in f',
        "    raise Odd('bad')",
        lines[-1],
    ]
    error = job.exception()
    assert error is not None
    assert (type(error).__name__, error.args) == ("Odd", ("bad",))
    assert "ZeroDivisionError: division by zero" in run(served, "%time 1/0").log("stderr")  # IPython 8 goes on
    assert run(served, "1/0").log("stderr").count("Traceback") == 1
    assert "UsageError: Line magic function `%nosuchmagic` not found" in run(served, "%nosuchmagic").error


def test_retries(served: Queue) -> None:
    """A cell is retried like a function; variables and outputs are those of the latest attempt."""
    source = (
        "from queuectl_nb import Retry, current_job\nn = current_job().attempt\ndisplay(n)\n"
        "if n == 1:\n    old = 1\n    raise Retry('again', after=0)\nn"
    )
    job = run(served, source, max_retries=3)
    assert (job.result(), job.attempts, list(job.variables().index)) == (2, 2, ["n"])
    assert displays(job) == [{"text/plain": "2"}, {"text/plain": "2"}]
    assert [attempt.error for attempt in job.history] == ["Retry: again", None]


def test_what_cannot_be_pickled(served: Queue) -> None:
    """Such a variable is listed and fails nothing; such a value is missing, and an input is refused by name."""
    job = run(served, "import threading\nlock = threading.Lock()\nx = 1\nlock")
    assert job.state == "completed"
    assert job["x"] == 1
    variables = job.variables()
    assert variables["type"]["lock"] == "_thread.lock"
    assert pd.isna(variables["size"]["lock"])
    assert "cannot be pickled" in variables["note"]["lock"]
    with pytest.raises(NotFound, match=r"variable lock of job job-\d+ cannot be pickled"):
        job["lock"]
    with pytest.raises(JobFailed, match=r"the value of job job-\d+ cannot be pickled: _thread.lock"):
        job.result()
    assert job.result_repr.startswith("<unlocked _thread.lock")
    before = len(served.jobs())
    with pytest.raises(BadInput, match=r"^input lock cannot be pickled"):
        enqueue_cell(served, "lock", {"lock": __import__("threading").Lock()})
    assert len(served.jobs()) == before


def test_definitions_go_by_value(served: Queue) -> None:
    """Objects of a class that the cell defines arrive with their class, and functions work elsewhere."""
    job = run(served, "class P:\n    x = 4\np = P()\ndef f(y):\n    return p.x + y\nP()")
    assert (job["p"].x, job.result().x, job["f"](1)) == (4, 4, 5)


def test_large_variables_are_files(served: Queue) -> None:
    """An input and a variable over 64 KiB are stored once by content, and removed with the last job that has them."""
    array = np.arange(100_000.0)
    jobs = [run(served, "b = a * 2", {"a": array}) for _ in range(2)]
    assert all((job["b"] == array * 2).all() for job in jobs)
    count = served.db.execute("SELECT count(*) FROM blobs WHERE body IS NULL").fetchone()[0]
    folder = served.store.db.output_dir / "blobs"
    assert not [name for name in os.listdir(folder) if name.startswith("new.")]
    served.delete(*jobs)
    assert served.db.execute("SELECT count(*) FROM blobs WHERE body IS NULL").fetchone()[0] == count - 2


def test_large_automatic_inputs(served: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable over the limit is an input only if it is named."""
    monkeypatch.setattr(client_cell, "MAX_AUTO_INPUT_BYTES", 1 << 20)
    big = bytes(2 << 20)
    cell = client_cell.Cell("len(big)", candidates={"big": big})
    with pytest.raises(BadInput, match="input big has 2 MiB, more than 1; to pass it, name it: --input big"):
        client_cell.make_cell_spec(served.path, cell, {})
    client_cell.make_cell_spec(served.path, cell._replace(inputs={"big": big}), {})


@pytest.mark.parametrize(
    ("method", "guard"),
    [
        ("fork", "True"),
        ("spawn", "True"),
        ("spawn", "__name__ == '__main__'"),
        ("forkserver", "__name__ == '__main__'"),
    ],
)
def test_multiprocessing_finds_what_the_cell_defines(served: Queue, method: str, guard: str) -> None:
    """Functions, classes and inputs of the cell exist in processes of every start method, without a guard as well."""
    job = run(served, POOL.replace("GUARD", guard), {"method": method, "factor": 10})
    assert job.log("stderr") == ""
    assert job.log("stdout") == "[10, 20]\n"


def test_profile_of_the_user_is_left_alone(served: Queue, tmp_path: Path) -> None:
    """The cell neither reads nor writes a profile, a history or a configuration of IPython."""
    job = run(served, "get_ipython().history_manager.enabled", env={"HOME": f"{tmp_path}"})
    assert job.result() is False
    assert os.listdir(tmp_path) == []


def test_cancel(served: Queue) -> None:
    """A running cell is cancelled like any job; until it has finished, it has no variables."""
    job = enqueue_cell(served, "import time\nprint('begun')\ntime.sleep(60)")
    until(lambda: "begun" in job.log("stdout"))
    with pytest.raises(NotFound, match="is processing; its variables exist once it has finished"):
        job.variables()
    job.cancel()
    until(job.done)
    assert job.state == "cancelled"


def test_value_as_an_argument(served: Queue) -> None:
    """A cell stands for its value as an argument of a function."""
    assert served.submit(lambda x: x + 1, enqueue_cell(served, "41")).result(TIMEOUT_S) == 42
    bad = enqueue_cell(served, "import threading\nthreading.Lock()")
    job = served.task(print, max_retries=1).submit(bad)
    job.exception(TIMEOUT_S)
    assert "cannot be pickled" in job.error


def test_other_kinds_have_no_variables(served: Queue) -> None:
    """The error says what has."""
    job = served.enqueue("true")
    for ask in (job.variables, job.display, lambda: job["x"]):
        with pytest.raises(BadInput, match="is a command; only cells"):
            ask()


def test_run_pending() -> None:
    """Cells run in tests without workers."""
    with temporary_queue() as queue:
        job = enqueue_cell(queue, "x = 2\ndisplay(x)\nx * a", {"a": 21})
        assert run_pending(queue) == [job]
        assert (job.result(), job["x"], displays(job)[0]) == (42, 2, {"text/plain": "2"})


def test_displays_fill_the_disk(small_disk: Path) -> None:
    """The first outputs are kept, and the value of the cell."""
    queue = Queue(small_disk / "queue.db")
    with queue.start_workers(1):
        job = enqueue_cell(
            queue, "from IPython.display import HTML\nfor n in range(600):\n    display(HTML('x' * 10_000))\nn"
        )
        assert job.result(TIMEOUT_S) == 599
    *kept, last = displays(job)
    assert 0 < len(kept) < 300
    assert all(each["text/html"] == "x" * 10_000 for each in kept)
    assert "further outputs are not kept: the disk is full" in last["text"]


def test_update_on_a_full_disk(small_disk: Path) -> None:
    """Outputs that were updated replace the file, also in place."""
    path = small_disk / "token.displays"
    outputs = Displays(str(path), 1 << 20)
    for n in range(10):
        outputs.add("display_data", {"text/plain": f"{n}" * 1000}, None, f"{n}")
    outputs.close()
    fill_disk(small_disk / "ballast")
    outputs.add("display_data", {"text/plain": "y"}, None, "9", update=True)
    outputs.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert os.listdir(small_disk) == ["ballast", "token.displays"]
    assert lines[-1]["data"] == {"text/plain": "y"}
