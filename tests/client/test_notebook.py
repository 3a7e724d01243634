"""Notebooks at the enqueue: what is read from the file, and which parameters and kernels are refused."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import pandas as pd
import pytest

from queuectl_nb import BadEnvironment, BadInput
from queuectl_nb.client.notebook import check_parameters, parse_parameters
from queuectl_nb.client.notebook_file import read_notebook

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb import Queue
    from queuectl_nb.client.notebook_file import Notebook

DEFAULTS = "region = 'EU'  # a = b\nn: int = 3\nfirst, second = 1, 2\n%matplotlib inline\nif n:\n    deep = '='"


def write(path: Path, *sources: str, tagged: bool = True, kernel: str = "python3", **metadata: Any) -> Path:
    """Write a notebook whose first cell is the parameters cell."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
    notebook.metadata.update(metadata)
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    if tagged:
        notebook.cells[0].metadata.tags = ["parameters"]
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def report(tmp_path: Path) -> Notebook:
    """Return a notebook with parameters."""
    return read_notebook(write(tmp_path / "report.ipynb", DEFAULTS))


def test_what_is_read(tmp_path: Path) -> None:
    """Outputs and widget states are left out; the rest is as in the file; names in the cell are found."""
    path = write(tmp_path / "report.ipynb", DEFAULTS, "1", widgets={"x": 1}, mine="kept")
    content = json.loads(path.read_text())
    content["cells"][1] |= {"outputs": [nbformat.v4.new_output("stream", text="x" * 100_000)], "execution_count": 7}
    path.write_text(json.dumps(content))
    found = read_notebook(path)
    stored = json.loads(found.body)
    assert stored["metadata"]["mine"] == "kept"
    assert "widgets" not in stored["metadata"]
    assert stored["cells"][1]["outputs"] == []
    assert stored["cells"][1]["execution_count"] is None
    assert len(found.body) < 10_000
    assert (found.folder, found.name, found.kernel, found.language) == (
        str(tmp_path),
        "report.ipynb",
        "python3",
        "python",
    )
    assert found.parameters == frozenset({"region", "n", "first", "second", "deep"})
    assert os.path.isdir(f"{found.kernel_dir}/python3") or os.path.isfile(f"{found.kernel_dir}/resources/kernel.json")


def test_syntax_error_in_parameters(tmp_path: Path) -> None:
    """The names in a cell that is not valid Python are found by line."""
    path = write(tmp_path / "x.ipynb", "region = 'EU'\nn: int = 3\nsum(\nx == 1")
    assert read_notebook(path).parameters == frozenset({"region", "n"})


def test_old_format(tmp_path: Path) -> None:
    """A notebook in format 3 is converted."""
    cell = {"cell_type": "code", "language": "python", "input": ["n = 1"], "outputs": [], "metadata": {}}
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": "x"}, "worksheets": [{"cells": [cell]}]}
    (tmp_path / "old.ipynb").write_text(json.dumps(old))
    found = read_notebook(tmp_path / "old.ipynb")
    assert json.loads(found.body)["cells"][0]["source"] in ("n = 1", ["n = 1"])
    assert found.parameters is None
    assert found.kernel == "python3"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a notebook"),
        (b"\xff\xfe\x00", "is not a notebook"),
        (b"x = 1\n", "is not a notebook"),
        (b"[]", "it has no cells"),
        (b'{"nbformat": 4}', "it has no cells"),
        (b'{"nbformat": 3, "worksheets": 5}', "is not a notebook"),
        (b'{"nbformat": 9, "cells": []}', "nbformat 9 is not supported"),
        (b'{"nbformat": 4, "cells": [1]}', "cell 1 has no cell_type"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 5}]}', "cell 1 has no source"),
        (b"[" * 100_000, "is not a notebook"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_no_notebook(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that is not a notebook is refused by name, in one line."""
    path = tmp_path / "x.ipynb"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.ipynb.*" + reason) as caught:
        read_notebook(path)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    """A missing file, a directory and a FIFO are refused, without blocking."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BadInput, match="No such file"):
        read_notebook(tmp_path / "missing.ipynb")
    with pytest.raises(BadInput, match="is not a file"):
        read_notebook(tmp_path / "fifo")
    with pytest.raises(BadInput, match="given by its path, not as None"):
        read_notebook(None)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"is not a file|Is a directory"):
        read_notebook(tmp_path)
    with pytest.raises(BadInput, match="embedded null"):
        read_notebook("a\0b")


def test_large_file(tmp_path: Path) -> None:
    """A notebook of 50 MB of output is stored without it; one beyond the limit is refused before it is read."""
    path = write(tmp_path / "x.ipynb", "n = 1")
    content = json.loads(path.read_text())
    content["cells"][0]["outputs"] = [nbformat.v4.new_output("stream", text="x" * 50_000_000)]
    path.write_text(json.dumps(content))
    assert len(read_notebook(path).body) < 10_000
    with path.open("r+b") as file:
        file.truncate(257 * 1024 * 1024)
    with pytest.raises(BadInput, match="269,484,032 bytes; 268,435,456 at most"):
        read_notebook(path)


def test_kernels(tmp_path: Path) -> None:
    """An unknown kernel is refused with the valid ones; a given one replaces that of the notebook."""
    path = write(tmp_path / "x.ipynb", "n = 1", kernel="python39")
    with pytest.raises(BadInput, match=r"the kernel of x.ipynb, 'python39' is unknown; .*python3; give another kernel"):
        read_notebook(path)
    with pytest.raises(BadInput, match=r"kernel 'r' is unknown; valid: .*python3"):
        read_notebook(path, "r")
    assert read_notebook(path, "python3").kernel == "python3"


def test_other_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The language is that of the kernel; the names of its parameters are not known, the values are checked."""
    folder = tmp_path / "kernels" / "sharp"
    folder.mkdir(parents=True)
    spec = {"argv": ["sharp", "{connection_file}"], "display_name": "C#", "language": "R"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    found = read_notebook(write(tmp_path / "x.ipynb", "n <- 1", kernel="sharp"))
    assert (found.kernel, found.kernel_dir, found.language) == ("sharp", str(tmp_path / "kernels"), "R")
    assert json.loads(check_parameters(found, {"any.name": [1, None]})) == {"any.name": [1, None]}
    with pytest.raises(BadInput, match="parameters for cobol: No parameter translator"):
        check_parameters(found._replace(language="cobol"), {"n": 1})


def test_papermill_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without papermill the error names the interpreter and the remedy."""
    monkeypatch.setitem(sys.modules, "papermill", None)
    remedy = rf"{sys.executable} -m pip install 'queuectl-nb\[notebook\]'"
    with pytest.raises(BadEnvironment, match=remedy):
        read_notebook(write(tmp_path / "x.ipynb", "n = 1"))


VALUES: dict[str, tuple[Any, Any]] = {
    "text": ("a \"quoted\" 'text'\nof \\ lines \N{SNOWMAN}\0", "a \"quoted\" 'text'\nof \\ lines \N{SNOWMAN}\0"),
    "none": (None, None),
    "nested": ([1, [2.5, {"k": [True, None]}]], [1, [2.5, {"k": [True, None]}]]),
    "tuple": ((1, 2), [1, 2]),
    "numpy": (np.float64(0.5), 0.5),
    "array": (np.arange(3), [0, 1, 2]),
    "missing": (pd.NaT, None),
    "large": (2**80, 2**80),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(report: Notebook, name: str) -> None:
    """Values that JSON has are kept, those of NumPy and pandas become Python's."""
    value, expected = VALUES[name]
    found = json.loads(check_parameters(report, {"region": value}))["region"]
    assert (found, type(found)) == (expected, type(expected))


def test_nan(report: Notebook) -> None:
    """NaN and infinities are kept."""
    found = json.loads(check_parameters(report, {"region": [math.nan, math.inf]}))["region"]
    assert math.isnan(found[0])
    assert found[1] == math.inf


def _cycle() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (pd.DataFrame({"a": [1]}), "a DataFrame"),
        ({1, 2}, "a set"),
        (b"x", "a bytes"),
        ([1, {"k": object()}], "a object"),
        ({1: 2}, "keys that are not strings"),
        (pd.Timestamp("2026-01-01"), "a datetime|a Timestamp"),
        (1j, "a complex"),
        ("\ud800", "not valid Unicode"),
        (_cycle(), "nested too deeply"),
        (10**5000, "too many digits"),
        ("x" * 2_000_000, "too large.*pass its path"),
    ],
    ids=lambda value: ascii(type(value)) if not isinstance(value, str) else value[:10],
)
def test_refused_values(report: Notebook, value: object, reason: str) -> None:
    """What cannot be a parameter is refused; where it is the fault of one, by its name."""
    with pytest.raises(BadInput, match=reason) as caught:
        check_parameters(report, {"region": value})
    assert "region" in str(caught.value) or "too" in reason


def test_names(report: Notebook, tmp_path: Path) -> None:
    """A parameter that the cell does not have is refused unless that is allowed; a name must be a name."""
    with pytest.raises(BadInput, match=r"parameter of report.ipynb, 'regoin' is unknown; did you mean region\?"):
        check_parameters(report, {"regoin": "EU"})
    assert check_parameters(report, {"regoin": "EU"}, allow_unknown=True) == '{"regoin": "EU"}'
    untagged = read_notebook(write(tmp_path / "x.ipynb", "n = 1", tagged=False))
    assert check_parameters(untagged, {}) == "{}"
    with pytest.raises(BadInput, match=r"'x\.ipynb' has no cell for parameters; add the tag 'parameters'"):
        check_parameters(untagged, {"n": 2})
    assert check_parameters(untagged, {"n": 2}, allow_unknown=True)
    for name in ("a b", "x; import os", "", "a.b", 5, "class"):
        with pytest.raises(BadInput, match=r"a parameter is a name|is a keyword"):
            check_parameters(report, {name: 1}, allow_unknown=True)  # type: ignore[dict-item]
    with pytest.raises(BadInput, match="parameters must be a dict"):
        check_parameters(report, [("n", 1)])  # type: ignore[arg-type]


def test_resume(queue: Queue, tmp_path: Path) -> None:
    """Parameters in another order are the same work; other parameters, and another content, are not."""
    path = write(tmp_path / "report.ipynb", DEFAULTS)

    def add(**parameters: Any) -> str:
        return queue.enqueue_notebook(path, parameters, resume=True).id

    first = add(region="EU", n=np.int64(3))
    assert add(n=3, region="EU") == first
    assert queue.job(first).command == "report.ipynb(region='EU', n=3)"  # as the notebook gets them
    others = [add(n=3), add(n=4, region="EU"), add(n=3.0, region="EU")]
    write(path, DEFAULTS, "1")
    assert len({first, *others, add(n=3, region="EU")}) == 5


def test_words() -> None:
    """``K=V`` is typed as papermill types it, and as JSON's constants; raw ones are text."""
    typed = ["a=3", "b=0.5", "c=true", "d=null", "e=True", "f=None", "g=x=y", "h=", "i=1e3", "j=[1]", "k=false"]
    assert parse_parameters(typed, ["r=3"]) == {
        "a": 3,
        "b": 0.5,
        "c": True,
        "d": None,
        "e": True,
        "f": None,
        "g": "x=y",
        "h": "",
        "i": 1000.0,
        "j": "[1]",
        "k": False,
        "r": "3",
    }
    with pytest.raises(BadInput, match="NAME=VALUE, not 'region'"):
        parse_parameters(["region"], [])
    with pytest.raises(BadInput, match="parameter a is given twice"):
        parse_parameters(["a=1"], ["a=2"])
