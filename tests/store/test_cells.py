"""What cells leave: variables, inputs and outputs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.child.blob import MAX_INLINE_BYTES, digest
from queuectl_nb.model.call import DISPLAYS, CallValue, Payload
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.blobs import blob_dir
from queuectl_nb.store.calls import (
    add_displays,
    parse_reply,
    read_displays,
    read_input_text,
    read_variable,
    read_variables,
)
from queuectl_nb.store.insert import insert_jobs

if TYPE_CHECKING:
    from queuectl_nb.store.spool import Spool
    from tests.store.conftest import StoreHarness

TOKEN = "0123456789abcdef" * 2
REPLY = '{"call": 0, "raised": false, "pickle": "dg=="}\n{"done": true}\n'


def run_cell(harness: StoreHarness, *values: CallValue, **body: Any) -> None:
    """Run the cell ``c``."""
    spec = JobSpec("x = 1", id="c", kind="cell", payload=Payload(json.dumps({"runtime": None, **body}), ()))
    insert_jobs(harness.store.db, [spec], cwd="/", recorded_env={}, now=harness.now)
    harness.run("c", values=values)


def test_without_displays(spool: Spool) -> None:
    """The reply of a cell that displayed nothing stays as it is."""
    assert add_displays(spool, TOKEN, REPLY) == REPLY


@pytest.mark.parametrize("size", [0, MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1])
def test_displays_join_the_reply(spool: Spool, size: int) -> None:
    """Small outputs are part of the reply, large ones a blob that it names; the other calls are unchanged."""
    displays = b"x" * size
    spool.path(TOKEN, "displays").write_bytes(displays)
    (shown, value), facts = parse_reply(add_displays(spool, TOKEN, REPLY))
    assert (value, facts["done"]) == (CallValue(0, False, b"v", None, 1), True)
    assert (shown.call, shown.raised, shown.size) == (DISPLAYS, False, size)
    if size <= MAX_INLINE_BYTES:
        assert (shown.body, shown.sha256) == (displays, None)
    else:
        assert (shown.body, shown.sha256) == (None, digest(displays))
        with open(f"{blob_dir(spool.folder)}/{shown.sha256}", "rb") as file:
            assert file.read() == displays


def test_variables(harness: StoreHarness) -> None:
    """Variables are listed with type, size and note; each is read by its name."""
    run_cell(
        harness,
        CallValue(0, False, b"value", None, 5),
        CallValue(1, False, b"pickle", None, 6, "x", "int"),
        CallValue(2, False, None, None, 0, "lock", "Lock", "cannot pickle"),
    )
    found = {each.name: each for each in read_variables(harness.store.db, "c")}
    assert found == {"x": ("x", "int", 6, None), "lock": ("lock", "Lock", 0, "cannot pickle")}
    stored = read_variable(harness.store.db, "c", "x")
    assert stored is not None
    assert (stored.pickle, stored.error) == (b"pickle", None)
    assert read_variable(harness.store.db, "c", "y") is None
    assert read_variables(harness.store.db, "nobody") == []


def test_inputs(harness: StoreHarness) -> None:
    """The text of the inputs is that of the payload; a cell without inputs, or another job, has none."""
    run_cell(harness, shown="lr=0.1")
    harness.add("command")
    assert [read_input_text(harness.store.db, name) for name in ("c", "command", "nobody")] == ["lr=0.1", "", ""]


def test_displays(harness: StoreHarness) -> None:
    """Outputs are read line by line; a line that was cut off is left out."""
    outputs = [{"output_type": "stream", "text": "a"}, {"output_type": "display_data"}]
    body = "".join(f"{json.dumps(each)}\n" for each in outputs).encode() + b'{"output_ty'
    run_cell(harness, CallValue(DISPLAYS, False, body, None, len(body)))
    assert read_displays(harness.store.db, "c") == outputs
    assert read_displays(harness.store.db, "nobody") == []


def test_displays_that_are_gone(harness: StoreHarness) -> None:
    """Where the file of large outputs cannot be read, an output on standard error says so."""
    sha256 = digest(b"x")
    run_cell(harness, CallValue(DISPLAYS, False, None, sha256, 1))
    path = os.path.join(blob_dir(harness.store.db.output_dir), sha256)
    assert read_displays(harness.store.db, "c") == [
        {
            "output_type": "stream",
            "name": "stderr",
            "text": f"the outputs of this job cannot be read: {path}: No such file or directory",
        }
    ]
