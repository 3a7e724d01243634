"""Mutation testing of ``model`` and ``store`` by the tests of their own layers; not part of the normal test run.

    pip install -e '.[mutation,test]'
    python -m tests.mutation                          # a sample of 25 mutants of every module
    python -m tests.mutation model/state.py --sample 0    # all mutants of one module
    python -m tests.mutation store --sample 40 --jobs 2

mutmut's operators change one expression of a module at a time, in a copy of the checkout. A mutant is killed if a test
fails or takes too long. The tests named after the module run first, then the rest of the layer. Each run is a fork of
this process, which has imported pytest, so that most mutants take less than a second. mutmut's own runner does not
change properties, other decorated functions and constants of a module; this one does.

Changes that cannot be observed are left out: annotations, ``__all__``, arguments of decorators, what is imported for
type checkers only, the case of SQL and of encodings, and ``strict`` of ``zip``. The exit code is 1 if fewer than
``--target`` per cent of the mutants are killed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import multiprocessing
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
LAYERS = ("model", "store")
TESTED_BY = {
    "artifact_folder": ["artifacts"],
    "attempt": ["attempt", "settle", "claims"],
    "attempt_history": ["attempt_history", "views", "stats"],
    "claims": ["claims", "release_claim", "limits", "settle", "edit", "boot_time"],
    "backup": ["backup", "blobs"],
    "connection": ["connection", "sqlite_errors", "queue_files"],
    "connection_pool": ["forks_and_copies", "connection"],
    "dependencies": ["dependencies", "boot_time", "jobs"],
    "edit": ["edit", "edit_faults", "boot_time"],
    "error_groups": ["error_groups", "error_tails"],
    "escape_sequences": ["escape_sequences", "failure"],
    "failure": ["failure", "error_tails"],
    "insert": ["insert", "keys", "dependencies", "blobs", "boot_time"],
    "interrupts": ["interrupts", "connection"],
    "job": ["job", "validation"],
    "jobs": ["jobs", "delete_jobs", "selections"],
    "queries": ["batch_sql", "claims", "query_plans"],
    "run_times": ["run_times", "eta"],
    "job_filter": ["job_filter", "reader", "job_lists"],
    "keys": ["keys", "blobs"],
    "maintenance": ["maintenance", "housekeeping", "growth"],
    "migrations": ["schema"],
    "output": ["output", "result"],
    "queue_files": ["queue_files", "paths", "identity", "sqlite_errors"],
    "regular_file": ["regular_file", "spool", "artifacts"],
    "paths": ["paths", "identity"],
    "rows": ["rows", "output", "reader"],
    "selections": ["selections", "edit", "edit_faults"],
    "settle": ["settle", "release_claim", "error_groups", "query_plans", "boot_time", "artifacts", "selections"],
    "store": ["store", "paths"],
    "shared_locks": ["forks_and_copies"],
    "os_errors": ["os_errors", "sqlite_errors", "paths"],
    "shell_quoting": ["shell_quoting", "command_template"],
    "bulk_export": ["job_texts", "job_columns", "reader", "job_lists"],
    "calls": ["calls", "cells"],
    "transaction": ["connection", "sqlite_errors"],
    "workers": ["workers", "boot_time", "pools"],
    "workload": ["workload", "eta"],
    "validation": ["validation", "number_parsing"],
}
"""Tests that run first, where they are not named after the module."""
SLOW = ("concurrent_writers", "forks_and_copies", "power_loss", "schema", "state_machine")
"""Tests of ``store`` that only run for the modules they are named for: they take longer than all others together."""
TIMEOUT_S = 120.0
PRELOADED = ("_hypothesis_pytestplugin", "hypothesis", "numpy", "psutil", "pytest", "pytest_timeout", "sqlite_utils")
"""Imported once for all forks."""


SQL = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|PRAGMA|BEGIN|COMMIT|ROLLBACK|VACUUM|WITH|UNION|ATTACH) ?"
    r"|.*\b(IS (NOT )?NULL|GROUP BY|ORDER BY|WHERE|EXISTS|BETWEEN)\b",
    re.IGNORECASE | re.DOTALL,
)


class Mutant(NamedTuple):
    """One changed module."""

    module: Path
    source: str
    difference: str


class Observable(ast.NodeTransformer):
    """Removes what has no effect at run time, so that mutants of it compare equal."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Remove the annotation of a variable, and its value if that is a string literal of types."""
        if ast.unparse(node.annotation) == "TypeAlias":
            node.value = None
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Remove the annotation of a parameter."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Remove the annotation of the result and the arguments of decorators."""
        node.returns = None
        return self._without_decorator_arguments(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Remove the arguments of decorators."""
        return self._without_decorator_arguments(node)

    def _without_decorator_arguments(self, node: ast.FunctionDef | ast.ClassDef) -> ast.AST:
        node.decorator_list = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Remove imports for type checkers."""
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Remove ``strict`` from calls of ``zip``: an assertion."""
        if ast.unparse(node.func) == "zip":
            node.keywords = []
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Ignore the case of SQL and of encodings."""
        if isinstance(node.value, str) and (SQL.match(node.value) or node.value.lower() in {"ascii", "utf-8"}):
            node.value = node.value.upper()
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        """Remove ``__all__`` and type variables."""
        value = ast.unparse(node.value)
        ignored = ast.unparse(node.targets[0]) == "__all__" or value.startswith(("TypeVar(", "ParamSpec("))
        return None if ignored else self.generic_visit(node)


def observable(source: str) -> str:
    """Return a form of ``source`` that is equal for modules that behave alike."""
    return ast.dump(Observable().visit(ast.parse(source)))


def mutants(module: Path, seed: int) -> Iterator[Mutant]:
    """Yield every mutant of a module in random order, apart from those that change nothing at run time."""
    import libcst
    from mutmut.mutation.mutators import mutation_operators

    text = module.read_text("utf-8")
    tree: Any = libcst.parse_module(text)
    nodes: list[Any] = []

    class Collector(libcst.CSTVisitor):  # type: ignore[misc,unused-ignore] # untyped where libcst is not installed
        def on_visit(self, node: Any) -> bool:
            nodes.append(node)
            return not isinstance(node, libcst.Annotation)

    tree.visit(Collector())
    seen = {observable(text)}
    changes = [
        (node, changed)
        for node in nodes
        for kind, operator in mutation_operators
        if isinstance(node, kind)
        for changed in operator(node)
    ]
    random.Random(seed).shuffle(changes)
    for node, changed in changes:
        source = tree.deep_replace(node, changed).code
        try:
            form = observable(source)
        except SyntaxError:
            continue
        if form in seen:
            continue
        seen.add(form)
        lines = difflib.unified_diff(text.splitlines(), source.splitlines(), lineterm="", n=0)
        yield Mutant(module, source, "\n".join(list(lines)[2:]))


def remove(folder: Path) -> None:
    """Remove a folder; shutil fails if a mutant has left folders that are nested too deeply."""
    subprocess.run(["rm", "-rf", folder], check=False)


class Runner:
    """A copy of the checkout in which one mutant at a time is tested."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.root = folder
        self.quick = quick
        folder.mkdir(exist_ok=True)
        for name in ("queuectl_nb", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)

    def is_killed(self, mutant: Mutant) -> bool:
        """Run the tests on a mutant."""
        place = self.root / mutant.module.relative_to(ROOT)
        original = place.read_text("utf-8")
        try:
            self._write(place, mutant.source)
            return not self.passes(mutant.module)
        finally:
            self._write(place, original)

    @staticmethod
    def _write(place: Path, source: str) -> None:
        place.write_text(source, "utf-8")
        for cached in (place.parent / "__pycache__").glob(f"{place.stem}.*"):  # times of files are too coarse
            cached.unlink()

    def passes(self, module: Path) -> bool:
        """Return True if all tests for a module pass."""
        first = self._tests_of(module)
        if self.quick and first:
            return self._pytest(first)
        slow = [f"tests/{module.parent.name}/test_{each}.py" for each in SLOW]
        rest = [f"--ignore={each}" for each in [*first, *slow]]
        return (not first or self._pytest(first)) and self._pytest([f"tests/{module.parent.name}", *rest])

    def _tests_of(self, module: Path) -> list[str]:
        names = TESTED_BY.get(module.stem, [module.stem])
        found = [f"tests/{module.parent.name}/test_{each}.py" for each in names]
        return [each for each in found if (self.root / each).exists()]

    def check(self, module: Path, *, whole_layer: bool) -> None:
        """Exit if the tests that are to kill mutants of a module fail without one."""
        first = self._tests_of(module)
        if not (self.passes(module) if whole_layer else not first or self._pytest(first)):
            output = (self.root / "output").read_text("utf-8", "replace")
            sys.exit(f"the tests of {module} fail without a mutant:\n{output[-3000:]}")

    def _pytest(self, arguments: list[str]) -> bool:
        remove(self.root / "temp")
        pid = os.fork()
        if not pid:
            self._child(arguments)
        handle = os.pidfd_open(pid)
        in_time = select.select([handle], [], [], TIMEOUT_S)[0]
        os.close(handle)
        os.killpg(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == 5:
            msg = f"no tests: {arguments}"
            raise ValueError(msg)
        return bool(in_time) and code == 0

    def _child(self, arguments: list[str]) -> None:
        import hypothesis
        import pytest

        code = 1
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
            os.chdir(self.root)
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # nbval alone takes a second
            sys.dont_write_bytecode = False  # otherwise each mutant compiles everything
            sys.path[:] = [str(self.root), *(each for each in sys.path if each not in {"", str(ROOT)})]
            for name in list(sys.modules):
                if name.partition(".")[0] in {"tests", "queuectl_nb"}:
                    del sys.modules[name]
            with open(self.root / "output", "wb") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            hypothesis.settings.register_profile(
                "mutation",
                database=None,
                derandomize=True,
                phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
            )
            hypothesis.settings.load_profile("mutation")
            plugins = ("-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin", "-p", "no:cacheprovider")
            code = pytest.main(["-x", "-q", *plugins, f"--basetemp={self.root / 'temp'}", *arguments])
        finally:
            os._exit(code)


def modules(names: list[str]) -> list[Path]:
    """Return the modules named on the command line, all by default."""
    found = []
    for name in names or LAYERS:
        place = ROOT / "queuectl_nb" / name
        found += [place] if place.is_file() else sorted(place.glob("*.py"))
    return [each for each in found if each.name != "__init__.py"]


_runners: list[Runner] = []
"""That of this process: a test that forks fails in a fork of a thread."""


def _prepare(folder: str, quick: bool) -> None:
    _runners.append(Runner(Path(tempfile.mkdtemp(dir=folder)), quick=quick))


def _is_killed(mutant: Mutant) -> bool:
    return _runners[0].is_killed(mutant)


def _check(module: Path) -> None:
    _runners[0].check(module, whole_layer=False)


def run(chosen: list[Path], sample: int, jobs: int, seed: int, *, quick: bool) -> tuple[int, int]:
    """Test the mutants of the modules and print the survivors; return how many were killed, of how many."""
    for name in PRELOADED:
        importlib.import_module(name)
    killed = total = 0
    layers = set()
    folder = tempfile.mkdtemp()
    try:
        unchanged = Runner(Path(folder, "unchanged"), quick=quick)
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), _prepare, (folder, quick)) as processes:
            for module in chosen:
                unchanged.check(module, whole_layer=not quick and module.parent not in layers)
                layers.add(module.parent)
                found = list(islice(mutants(module, seed), sample or None))
                survived = 0
                for mutant, is_killed in zip(found, processes.map(_is_killed, found), strict=True):
                    if not is_killed:
                        survived += 1
                        print(mutant.difference, flush=True)
                killed += len(found) - survived
                total += len(found)
                processes.submit(_check, module).result()  # not all were killed by what an earlier mutant has left
                print(f"{module.relative_to(ROOT)}: {len(found) - survived} of {len(found)} killed", flush=True)
    finally:
        remove(Path(folder))
    return killed, total


def main() -> int:
    """Run with the options given on the command line; return 1 if too few mutants were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "module", nargs="*", help="a module or layer below queuectl_nb, such as model/state.py or store"
    )
    parser.add_argument("--sample", type=int, default=25, help="mutants of each module, chosen at random; 0: all")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tested at a time")
    parser.add_argument("--seed", type=int, default=1, help="another seed chooses another sample")
    parser.add_argument("--target", type=float, default=90.0, help="least share of mutants killed, in per cent")
    parser.add_argument(
        "--quick", action="store_true", help="run only the tests named after a module, if there are any: a lower bound"
    )
    args = parser.parse_args()
    killed, total = run(modules(args.module), args.sample, args.jobs, args.seed, quick=args.quick)
    share = 100 * killed / max(1, total)
    print(f"{killed} of {total} mutants killed: {share:.1f} %")
    return int(share < args.target)


if __name__ == "__main__":
    sys.exit(main())
