"""Tracebacks of jobs whose function is defined in a notebook or in another module that jobs do not import."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest

from queuectl_nb.client import payload
from queuectl_nb.testing import run_pending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb import Queue

HELPER = """\
class Model:
    def fit(self, rate):
        # the next lines are in the traceback
        return 1 / (
            rate
        )
"""
SUBMIT = "job = Queue().task(train, max_retries=1).submit(0)"
TRAIN = "def train(rate):\n    model = Model()\n    return model.fit(rate)"


def test_lines_of_cells(shell: Any, queue: Queue) -> None:
    """Log and cause name the cells and their lines, as a traceback in the notebook does, and show their text."""
    cells = [f"first = 0; secret = 'hidden'\n{HELPER}", TRAIN, "from queuectl_nb import Queue", SUBMIT]
    for source in cells:
        shell.run_cell(source, store_history=True).raise_error()
    job = shell.user_ns["job"]
    assert not [row for row in queue.db["blobs"].rows if b"hidden" in row["body"]]
    run_pending(queue)
    log = job.log("stderr")
    lines = [line.strip() for line in log.splitlines() if set(line.strip()) - {"^", "~"}]
    assert lines[1:5] == [
        'File "Cell In[2]", line 3, in train',
        "return model.fit(rate)",
        'File "Cell In[1]", line 5, in fit',
        "return 1 / (",
    ]
    with pytest.raises(ZeroDivisionError) as caught:
        job.result()
    assert str(caught.value.__cause__) == f"in job {job.id}\n{log.rstrip()}"


def test_cells_with_the_same_number(shell: Any, queue: Queue) -> None:
    """After a reset, cells are numbered from 1 again: their lines are not mixed up."""
    for source in (HELPER, TRAIN):
        shell.run_cell(source).raise_error()
    job = queue.task(shell.user_ns["train"], max_retries=1).submit(0)
    run_pending(queue)
    log = job.log("stderr")
    assert '"Cell In[1]", line 3, in train\n    return model.fit(rate)' in log
    assert "line 4, in fit\n    return 1 / (" in log


def test_lines_of_a_module_that_is_edited(queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines are those of the enqueue, also for functions in arguments and for ``inspect.getsource``."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "edited_module.py"
    path.write_text(
        "import inspect\n\ndef call(f):\n    return f(), inspect.getsource(f)\n\ndef fail():\n    1 / 0\n", "utf-8"
    )
    module = importlib.import_module("edited_module")
    queue.by_value(module)
    failing = queue.task(module.call, max_retries=1).submit(module.fail)
    good = queue.submit(module.call, _local())
    path.write_text("# nothing is left\n" * 20, "utf-8")
    run_pending(queue)
    cloudpickle.unregister_pickle_by_value(module)
    del sys.modules["edited_module"]
    log = failing.log("stderr")
    assert "return f(), inspect.getsource(f)" in log
    assert "    1 / 0\n" in log
    assert good.result() == (7, "    def seven() -> int:\n        return 7\n")


def _local() -> Callable[[], int]:
    def seven() -> int:
        return 7

    return seven


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of a long function are left out; code without a file has none."""
    code, unknown = _local().__code__, compile("1", "<unknown>", "exec")
    first = code.co_firstlineno
    sources = payload.SourceCollector()
    assert (sources.add(code), sources.add(unknown)) == (__file__, "<unknown>")
    assert sources.lines == {__file__: {first: "    def seven() -> int:\n", first + 1: "        return 7\n"}}
    monkeypatch.setattr(payload, "MAX_SOURCE_CHARS", 10)
    sources = payload.SourceCollector()
    assert sources.add(code) == __file__
    assert sources.lines == {}
