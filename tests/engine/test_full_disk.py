"""Files of a dispatcher on a full disk: nothing is lost, and it continues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.engine.collect import add_reply
from queuectl_nb.engine.dask.messages import Ended
from queuectl_nb.engine.dask.remote_run import RemoteRun
from queuectl_nb.model.attempt import Ending, Lease
from queuectl_nb.model.outcome import Exited, Raised
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path


def test_result_that_cannot_be_written_is_noted(tmp_path: Path) -> None:
    """The outcome counts even if the result cannot be written, and the note gives the reason."""
    lease = Lease(1, "job-1", 1, "f" * 32, "true", "/", "default", 0, 1, None, None, {}, {}, None, "command", None)
    run = RemoteRun(lease, Spool(tmp_path / "missing"))
    run.finish(Ended(lease.token, Exited(0), result="[1]"), None)
    assert run.outcome == Exited(0)
    assert (run.note or "").startswith("its result was not stored: ")


def test_value_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    """The attempt fails with the reason, and is repeated."""
    lease = Lease(1, "job-1", 1, "f" * 32, "f()", "/", "default", 0, 1, None, None, {}, {}, None, "function", None)
    run = RemoteRun(lease, Spool(tmp_path / "missing"))
    run.finish(Ended(lease.token, Exited(0), reply='{"call": 0, "raised": false, "pickle": "Ti4="}'), None)
    outcome, ending, _ = add_reply(run.lost_reply, run.outcome, Ending(0.0))
    assert outcome == Raised("the value cannot be written: No such file or directory", 0)
    assert ending.values == ()
