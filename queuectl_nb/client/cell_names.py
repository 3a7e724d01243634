"""Finds the variables that a cell reads before it assigns them, and those that it assigns."""

from __future__ import annotations

# ruff: noqa: N815 - methods are named after the classes of ast
import ast
import re
import symtable
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CellNames", "find_names"]

_PYTHON_MAGICS = frozenset({"capture", "prun", "time", "timeit"})
"""Magics whose line or body is Python."""
_MAGIC_OPTIONS = re.compile(r"(-\w+(\s+\d+)?\s+)*")
_EXPANSION = re.compile(r"\{([^{}]+)\}|\$\{?([^\W\d]\w*)")
"""How other magics, and commands after ``!``, refer to variables."""
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)


class CellNames(NamedTuple):
    """Names in the order of the cell: those that it may read before it assigns them, and those that it assigns."""

    read: list[str]
    assigned: list[str]
    imported: list[str]
    """Names that only imports assign; they are not in ``assigned``."""
    modules: list[str]
    """Top-level modules that it imports."""


def find_names(source: str) -> CellNames:
    r"""Parse a cell, with IPython's syntax; raise :class:`BadInput` if it is not valid.

    >>> find_names("y = x + 1\n%time z = f(y)").read
    ['x', 'f']

    """
    try:
        return _Names().run(_parse(source))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "too deeply nested"
        if isinstance(error, SyntaxError):  # there is no line number for a NUL character
            reason = error.msg if error.lineno is None else f"line {error.lineno}: {error.msg}"
        msg = f"the cell is not valid Python ({reason})"
        raise BadInput(msg) from None


def _parse(source: str) -> ast.Module:
    from IPython.core.inputtransformer2 import TransformerManager

    text = TransformerManager().transform_cell(source)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compile(text, "<cell>", "exec", flags=flags, dont_inherit=True)  # finds more errors than the parser
    return ast.parse(text)


class _Names(ast.NodeVisitor):
    """Visits the statements of a cell in the order in which they run."""

    def __init__(self) -> None:
        self._read: dict[str, None] = {}
        self._assigned: dict[str, None] = {}
        self._known: set[str] = set()
        """Names that are assigned at this point on every path through the cell."""
        self._imported: dict[str, None] = {}
        self._modules: dict[str, None] = {}
        self._later: dict[str, set[str]] = {}
        """Names that functions and classes read when they are used, by the name of each."""

    def run(self, tree: ast.Module) -> CellNames:
        self.visit(tree)
        for names in self._later.values():
            self._read_all(names.difference(self._assigned))
        imported = [name for name in self._imported if name not in self._assigned]
        return CellNames(list(self._read), list(self._assigned), imported, list(self._modules))

    def _load(self, name: str) -> None:
        if name not in self._known and name != "get_ipython":  # which every cell has
            self._read[name] = None
        self._read_all(self._later.pop(name, set()))

    def _read_all(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            self._load(name)

    def _store(self, name: str) -> None:
        self._known.add(name)
        self._assigned[name] = None
        self._later.pop(name, None)

    # ------------------------------------------------------------------ names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._store(node.id)
            return
        self._load(node.id)
        if isinstance(node.ctx, ast.Del):
            self._known.discard(node.id)

    def visit_Import(self, node: ast.Import) -> None:
        self._modules |= dict.fromkeys(each.name.partition(".")[0] for each in node.names)
        self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._modules[(node.module or "").partition(".")[0]] = None
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        if node.name != "*":
            name = node.asname or node.name.partition(".")[0]
            self._imported[name] = None
            self._known.add(name)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name is not None:
            self._known.add(node.name)  # deleted at the end
        self.generic_visit(node)

    def visit_MatchAs(self, node: Any) -> None:
        self.generic_visit(node)
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name is not None:
            self._store(name)

    visit_MatchStar = visit_MatchMapping = visit_MatchAs

    def visit_Assign(self, node: ast.Assign) -> None:
        self._visit_all([node.value, *node.targets])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._visit_all([node.annotation, *([node.value, node.target] if node.value is not None else [])])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._load(node.target.id)
        self._visit_all([node.value, node.target])

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._visit_all([node.value, node.target])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._visit_all([node.iter, node.target, *node.body, *node.orelse])

    visit_AsyncFor = visit_For

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    # ------------------------------------------------------------------ branches: known is what all of them assign

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._visit_branches([node.body, node.orelse])

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        self._visit_branches([[case] for case in node.cases])

    def visit_Try(self, node: Any) -> None:
        self._visit_branches([[*node.body, *node.orelse], *[[handler] for handler in node.handlers]])
        self._visit_all(node.finalbody)

    visit_TryStar = visit_Try

    def _visit_branches(self, branches: Iterable[Iterable[ast.AST]]) -> None:
        before, ends = self._known, []
        for branch in branches:
            self._known = set(before)
            self._visit_all(branch)
            ends.append(self._known)
        self._known = set.intersection(*ends) if ends else before

    # ------------------------------------------------------------------ nested scopes

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        self._visit_all([*node.decorator_list, *defaults])
        self._store(node.name)
        self._later[node.name] = _globals(ast.unparse(node))

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_all([*node.decorator_list, *node.bases, *(each.value for each in node.keywords)])
        self._store(node.name)
        self._later[node.name] = _globals(ast.unparse(node))

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, _COMPREHENSIONS):
            self._read_all(_globals(f"async def _():\n return ({ast.unparse(node)})"))
            self._visit_all(each for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
            return
        super().generic_visit(node)

    # ------------------------------------------------------------------ magics

    def visit_Call(self, node: ast.Call) -> None:
        texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        match node.func:
            case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=attr) if texts:
                if attr in {"run_line_magic", "run_cell_magic"} and texts[0] in _PYTHON_MAGICS:
                    self._visit_python(texts[-1])
                else:
                    self._visit_expansions(texts[-1])
        self.generic_visit(node)

    def _visit_python(self, text: str) -> None:
        try:
            tree = _parse(text[_MAGIC_OPTIONS.match(text).end() :])  # type: ignore[union-attr]  # matches anything
        except SyntaxError:
            self._visit_expansions(text)
        else:
            self.visit(tree)

    def _visit_expansions(self, text: str) -> None:
        for expression, name in _EXPANSION.findall(text):
            if name:
                self._load(name)
                continue
            try:
                self.visit(ast.parse(expression.partition(":")[0].strip(), mode="eval"))
            except SyntaxError:
                continue


def _globals(source: str) -> set[str]:
    """Return the global names that the functions and classes in ``source`` read."""
    todo = list(symtable.symtable(source, "<cell>", "exec").get_children())
    found: set[str] = set()
    while todo:
        table = todo.pop()
        todo += table.get_children()
        found.update(each.get_name() for each in table.get_symbols() if each.is_global() and each.is_referenced())
    return found
