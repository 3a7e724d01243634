"""Payloads and values of Python jobs, as their processes and readers get them."""

from __future__ import annotations

import json
import os
from binascii import b2a_base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.child.blob import digest, write_blob
from queuectl_nb.model.call import Blob, CallValue, Payload
from queuectl_nb.model.errors import NotFound
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.outcome import Exited, Raised
from queuectl_nb.store.artifacts import artifact_dir
from queuectl_nb.store.blobs import blob_dir
from queuectl_nb.store.calls import (
    JobCalls,
    StoredValue,
    executed_notebook,
    load_call,
    load_stored,
    parse_reply,
    read_calls,
    replace_payloads,
)
from queuectl_nb.store.insert import insert_jobs

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness

RUNTIME = Blob(digest(b'{"executable": "python"}'), b'{"executable": "python"}')
LARGE = Blob(digest(b"x" * 100_000), b"x" * 100_000)
SMALL = Blob(digest(b"small"), b"small")


def add(harness: StoreHarness, job_id: str, kind: str = "function", **body: Any) -> None:
    """Enqueue a Python job that needs LARGE and SMALL."""
    body = {"runtime": RUNTIME.sha256, "preload": [], "jobs": [], **body}
    spec = JobSpec("f()", id=job_id, kind=kind, payload=Payload(json.dumps(body), (RUNTIME, LARGE, SMALL)))
    insert_jobs(harness.store.db, [spec], cwd="/", recorded_env={}, now=harness.now)


def blob_path(harness: StoreHarness, sha256: str) -> str:
    """Return the path of the file of a blob."""
    return f"{blob_dir(harness.store.db.output_dir)}/{sha256}"


def test_what_a_process_gets(harness: StoreHarness) -> None:
    """Small blobs are bytes; large ones are files, or are read; calls that have returned are done."""
    add(harness, "f", calls=[1, 2, 3])
    lease = harness.claim_job("f")
    call = load_call(harness.store.db, lease)
    path = blob_path(harness, LARGE.sha256)
    assert call["blobs"] == {LARGE.sha256: path, SMALL.sha256: b"small"}
    assert (call["kind"], call["name"], call["done"], call["jobs"]) == ("function", "f()", [], {})
    assert (call["runtime"], call["preload"], call["calls"]) == ({"executable": "python"}, [], [1, 2, 3])
    assert load_call(harness.store.db, lease, read_files=True)["blobs"] == {
        LARGE.sha256: LARGE.body,
        SMALL.sha256: b"small",
    }
    values = (CallValue(0, False, b"v", None, 1), CallValue(2, True, b"e", None, 1))
    harness.settle(lease, Raised("ValueError: x"), values=values)
    harness.now += 100
    assert load_call(harness.store.db, harness.claim_job("f"))["done"] == [0]
    os.unlink(path)
    with pytest.raises(OSError, match=LARGE.sha256):
        load_call(harness.store.db, lease, read_files=True)
    harness.store.db.connection().execute("DELETE FROM payloads")
    with pytest.raises(LookupError, match=r"^its payload does not exist$"):
        load_call(harness.store.db, lease)


def test_values_of_other_jobs(harness: StoreHarness) -> None:
    """Commands give JSON, functions pickles, notebooks the path of what was executed."""
    harness.add("json", "none", priority=9)
    harness.run("json", result="[1]")
    harness.run("none")
    add(harness, "small")
    harness.run("small", values=(CallValue(0, False, b"v", None, 1),))
    add(harness, "chunk", chunk=True, calls=[1, 2, 3])
    write_blob(blob_dir(harness.store.db.output_dir), LARGE.sha256, LARGE.body)
    large = CallValue(1, False, None, LARGE.sha256, len(LARGE.body))
    harness.run("chunk", values=(CallValue(0, False, b"a", None, 1), large, CallValue(2, True, b"e", None, 1)))
    add(harness, "book", "notebook", notebook={"name": "out.ipynb"})
    token = harness.claim_job("book")
    harness.settle(token)
    names = ["json", "none", "small", "chunk", "book"]
    add(harness, "all", jobs=names)
    lease = harness.claim_job("all")
    path = blob_path(harness, LARGE.sha256)
    book = Path(artifact_dir(harness.store.db.output_dir, token.token), "out.ipynb")
    assert executed_notebook(harness.store.db, "book") is None
    assert load_call(harness.store.db, lease)["jobs"]["book"] == {"json": "null"}
    book.parent.mkdir(parents=True)
    book.touch()
    expected: dict[str, Any] = {
        "json": {"json": "[1]"},
        "none": {"json": "null"},
        "small": {"pickles": [b"v"], "chunk": False},
        "chunk": {"pickles": [b"a", path], "chunk": True},
        "book": {"path": str(book)},
    }
    assert load_call(harness.store.db, lease)["jobs"] == expected
    expected["chunk"]["pickles"] = [b"a", LARGE.body]
    for name in ("json", "none", "book"):
        expected[name]["pickles"] = []
    assert load_call(harness.store.db, lease, read_files=True)["jobs"] == expected
    assert executed_notebook(harness.store.db, "book") == book
    assert executed_notebook(harness.store.db, "json") is None


@pytest.mark.parametrize("raised", [0, 1])
def test_a_value_whose_file_is_gone(tmp_path: Path, raised: int) -> None:
    """It says so, and still whether the call has raised."""
    path = tmp_path / LARGE.sha256
    expected = StoredValue(2, bool(raised), error=f"cannot be read: {path}: No such file or directory")
    assert load_stored((2, raised, None, LARGE.sha256, None), str(tmp_path)) == expected


def test_missing_values_of_other_jobs(harness: StoreHarness) -> None:
    """A deleted job, and a value that was not kept, are named."""
    add(harness, "lost")
    harness.run("lost", values=(CallValue(0, False, None, None, 0, None, None, "not pickled: no"),))
    add(harness, "a", jobs=["lost"])
    add(harness, "b", jobs=["gone"])
    first, second = harness.claim_job("a"), harness.claim_job("b", "worker-2")
    with pytest.raises(LookupError, match=r"^the value of job lost, which it needs, does not exist: not pickled: no$"):
        load_call(harness.store.db, first)
    with pytest.raises(LookupError, match=r"^job gone, whose value it needs, was deleted$"):
        load_call(harness.store.db, second)


def test_read_calls(harness: StoreHarness) -> None:
    """Values come by call; what was raised counts in the latest attempt only; large ones are not read."""
    add(harness, "f", calls=[1, 2, 3], chunk=True)
    assert read_calls(harness.store.db, "f") == JobCalls(3, True, [])
    kept, named = CallValue(1, False, None, LARGE.sha256, 9), CallValue(3, False, b"n", None, 1, "name", "int")
    raised = CallValue(0, True, b"old", None, 3)
    harness.run("f", Exited(1), values=(kept, raised, named))
    path = blob_path(harness, LARGE.sha256)
    large = StoredValue(1, False, path=path)
    assert read_calls(harness.store.db, "f").stored == [StoredValue(0, True, b"old"), large]
    harness.now += 100
    values = (
        CallValue(0, True, None, LARGE.sha256, 9),
        CallValue(2, True, None, None, 0, None, None, "not pickled: x"),
    )
    harness.run("f", Exited(1), values=values)
    assert read_calls(harness.store.db, "f").stored == [
        StoredValue(0, True, path=path),
        large,
        StoredValue(2, True, None, "not pickled: x"),
    ]
    with pytest.raises(NotFound):
        read_calls(harness.store.db, "deleted")


def test_replaced_payload(harness: StoreHarness) -> None:
    """The blobs of the new payload replace those of the old one; values are kept."""
    add(harness, "f", calls=[1])
    harness.run("f", Exited(1), values=(CallValue(0, False, None, LARGE.sha256, 9),))
    new = Blob(digest(b"new"), b"new")
    with harness.store.db.write() as connection:
        replace_payloads(harness.store.db, connection, {1: Payload('{"calls": [1, 2]}', (new,))})
    used = {sha for (sha,) in harness.query("SELECT sha256 FROM job_blobs WHERE job = 1")}
    assert used == {LARGE.sha256, new.sha256}
    assert read_calls(harness.store.db, "f").number == 2


def test_a_retried_job_runs_the_new_code(harness: StoreHarness) -> None:
    """With ``resume``, a job that runs again gets the new payload and its blobs, whose files are written before."""
    body, key = {"runtime": RUNTIME.sha256, "preload": [], "jobs": []}, ("k.1", "k")
    specs = [
        JobSpec("f()", kind="function", payload=Payload(json.dumps({**body, "version": number}), blobs), max_retries=1)
        for number, blobs in enumerate([(RUNTIME,), (RUNTIME, LARGE)])
    ]
    for spec in specs:
        insert_jobs(harness.store.db, [spec.with_key(*key)], cwd="/", recorded_env={}, now=harness.now)
        lease = harness.claim_job("job-1")
        call = load_call(harness.store.db, lease, read_files=True)
        harness.settle(lease, Exited(1))
    assert (call["version"], call["blobs"]) == (1, {LARGE.sha256: LARGE.body})


def test_parse_reply() -> None:
    """Damaged lines are skipped; facts of later lines win; lines of variables are no facts."""
    encoded = b2a_base64(b"value").decode().strip()
    lines = [
        {"call": 0, "raised": False, "pickle": encoded, "result": "1", "repr": "1"},
        {"call": 1, "raised": True, "sha256": "a" * 64, "size": 7, "note": "n", "repr": "2"},
        {"call": 2, "raised": False, "pickle": encoded, "name": "x", "type": "int", "repr": "no fact"},
        {"call": 3, "raised": False},
        {"call": "no number", "raised": False},
        {"call": 4},
        {"call": 5, "raised": False, "pickle": "#"},
        ["list"],
    ]
    text = "\n".join([*map(json.dumps, lines), '{"call": 6, "rai', "\x00", '{"modules": ["numpy"]}'])
    values, facts = parse_reply(text)
    assert values == [
        CallValue(0, False, b"value", None, 5),
        CallValue(1, True, None, "a" * 64, 7, None, None, "n"),
        CallValue(2, False, b"value", None, 5, "x", "int", None),
        CallValue(3, False, None, None, 0),
    ]
    assert (facts["repr"], facts["result"], facts["modules"], facts["note"]) == ("2", "1", ["numpy"], "n")
