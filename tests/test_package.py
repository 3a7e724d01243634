"""The package as a whole: its names, its weight, its version."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import queuectl_nb

ROOT = Path(queuectl_nb.__file__).parents[1]
HEAVY = {"IPython", "click", "numpy", "pandas", "prometheus_client", "psutil", "rich", "sqlite_utils", "tornado"}


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a child has loaded after ``code``."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_public_names_are_there() -> None:
    """Every name of ``__all__`` can be had, and an unknown one is an AttributeError that names it."""
    for name in queuectl_nb.__all__:
        assert getattr(queuectl_nb, name) is not None
    assert set(queuectl_nb.__all__) <= set(dir(queuectl_nb))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = queuectl_nb.nonsense


def module_names() -> list[str]:
    """Return the modules of the package that can be imported without running a process."""
    paths = (path.relative_to(ROOT).with_suffix("") for path in Path(queuectl_nb.__file__).parent.rglob("*.py"))
    names = (".".join(path.parts).removesuffix(".__init__") for path in paths)
    return sorted(name for name in names if not name.endswith("__main__"))


@pytest.mark.parametrize("name", module_names())
def test_all_names_what_the_module_defines(name: str) -> None:
    """``__all__`` exists where something public is defined; its names exist; public functions and classes are in it."""
    source = Path(ROOT, *name.split("."))
    path = source.with_suffix(".py") if source.with_suffix(".py").is_file() else source / "__init__.py"
    tree = ast.parse(path.read_text("utf-8"))
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    exported: list[str] = next(
        (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        ),
        [],
    )
    if name != "queuectl_nb":  # defines what IPython and Jupyter call by name
        assert defined - set(exported) == set()
    assert len(exported) == len(set(exported))
    module = import_module(name)
    assert [each for each in exported if not hasattr(module, each)] == []


def test_version_is_that_of_the_distribution() -> None:
    """``__version__`` is the version of the installed distribution; pyproject.toml reads it from there."""
    assert queuectl_nb.__version__ == version("queuectl-nb")


def test_import_of_the_package_loads_nothing_heavy() -> None:
    """``import queuectl_nb`` costs next to nothing."""
    assert not modules_after("import queuectl_nb") & (HEAVY | {"sqlite3", "asyncio"})


def test_worker_and_pool_stay_lean() -> None:
    """What a worker or pool process loads at its start is the standard library and our lower floors."""
    code = "from queuectl_nb.engine import bootstrap, control, local_executor, supervisor, worker"
    assert not modules_after(code) & (HEAVY | {"asyncio"})


def test_console_enqueue_stays_lean(queue_path: Path) -> None:
    """``queuectl enqueue`` loads click, but no other heavy package; benchmarks/startup.py measures its time."""
    words = ["--db", str(queue_path), "enqueue", "--command", "true"]
    code = f"from queuectl_nb.cli.main import main; assert main({words!r}) == 0"
    loaded = modules_after(code)
    assert "click" in loaded
    assert not loaded & ((HEAVY - {"click"}) | {"asyncio", "cloudpickle"})


def test_python_api_enqueues_without_pandas(queue_path: Path) -> None:
    """A script that enqueues from dicts never loads pandas."""
    code = f"from queuectl_nb import Queue; q = Queue({str(queue_path)!r}); q.enqueue_many([dict(command='true')])"
    assert not modules_after(code) & (HEAVY - {"click"})


def test_queue_and_job_pickle_as_names(queue_path: Path) -> None:
    """A queue and a job sent to another process work there."""
    import pickle

    queue = queuectl_nb.Queue(queue_path)
    job = queue.enqueue("true", id="sent")
    code = "import pickle, sys, json; job = pickle.load(sys.stdin.buffer); print(json.dumps(job.to_dict()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(job),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert json.loads(done.stdout)["id"] == "sent"
