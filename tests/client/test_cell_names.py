"""Which variables a cell reads before it assigns them."""

from __future__ import annotations

import pytest

from queuectl_nb.client.cell_names import find_names
from queuectl_nb.model.errors import BadInput


@pytest.mark.parametrize(
    ("source", "read", "assigned"),
    [
        ("y = x\nx = 1\nz = x", "x", "y x z"),
        ("x += 1", "x", "x"),
        ("import numpy as np\nfrom a.b import c\nimport os.path\nnp; c; os", "", ""),
        ("a, (b, *c) = d\na; b; c", "d", "a b c"),
        ("x: int = y\nz: t", "int y t", "x"),
        ("if (n := len(m)) > 1:\n    x = n\nprint(x)", "len m print x", "n x"),
        ("if c:\n    x = 1\nelse:\n    x = 2\nx", "c", "x"),
        ("for i in r:\n    s = i\ns", "r", "i s"),
        ("while go:\n    v = 1\nv", "go", "v"),
        ("with open(p) as f:\n    t = f\nt", "open p", "f t"),
        ("try:\n    v = 1\nexcept E as e:\n    e\nv", "E v", "v"),
        ("try:\n    v = 1\nfinally:\n    w\nv", "w", "v"),
        (
            "match p:\n case [a, *b] if c:\n  a\n case {'k': d, **e}:\n  d; e\n case _:\n  f",
            "p c f",
            "a b d e",
        ),
        ("[v * k for v in w if u]", "k u w", ""),
        ("{j: q for j in range(3)}\nlambda z: z + o", "q range o", ""),
        ("del a\na = 1", "a", "a"),
        # a function reads when it is called, or at the end if it is not called
        ("def f(a=b):\n    return a + c\nc = 1\nf()", "b", "f c"),
        ("def f():\n    return c\nf()\nc = 1", "c", "f c"),
        ("def f():\n    return c", "c", "f"),
        ("@deco\ndef f(x):\n    y = x\n    def g():\n        return y + z\n    return g", "deco z", "f"),
        ("def f():\n    return g()\ndef g():\n    return k\nf()", "k", "f g"),
        ("class A(B, metaclass=M):\n    x = y\n    def m(self):\n        return w\nA()", "B M w y", "A"),
        ("async def f():\n    return await h()\nawait f()", "h", "f"),
        # IPython's syntax
        ("%time x = f(y)", "f y", "x"),
        ("%timeit -n 10 g(y)", "g y", ""),
        ("%%time\nx = f(y)\nx", "f y", "x"),
        ("!echo {a + b} $c ${d}\nout = !ls {e.name}", "a b c d e", "out"),
        ("%cd {folder}\n%matplotlib inline", "folder", ""),
        ("x?\n", "", ""),
    ],
)
def test_names(source: str, read: str, assigned: str) -> None:
    """The names are in the order in which they are read and assigned."""
    found = find_names(source)
    assert found.read == read.split()
    assert found.assigned == assigned.split()


def test_imports() -> None:
    """Names that are only imported are no variables; the modules can be loaded before the cell starts."""
    found = find_names("import numpy.linalg, os as o\nfrom pandas.core import x, y\ny = 1\no")
    assert (found.imported, found.assigned, found.read) == (["numpy", "o", "x"], ["y"], [])
    assert found.modules == ["numpy", "os", "pandas"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("x = 1\nx +", "line 2: invalid syntax"),
        ("for x in y:\nz", "line 2: expected an indented block"),
        ("return 1", "line 1: 'return' outside function"),
        ("print('a\0b')", "null bytes"),
        ("-" * 100_000 + "1", "too deeply nested"),  # the parser gives up on one, the compiler on the other
        ("1" + "+1" * 50_000, "too deeply nested"),
    ],
    ids=lambda text: text[:20],
)
def test_invalid_cells(source: str, why: str) -> None:
    """What does not parse is refused with the line."""
    with pytest.raises(BadInput, match="the cell is not valid Python") as caught:
        find_names(source)
    assert why in str(caught.value)
