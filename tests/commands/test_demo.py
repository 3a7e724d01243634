"""``demo``: five flows with real workers in under 40 seconds."""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING

from queuectl_nb.commands import demo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from queuectl_nb.commands.demo import Demo
    from tests.conftest import Ran


def test_demo(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All flows pass within 40 seconds, each command and its outcome is shown, and nothing is left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    began = time.monotonic()
    ran = run("demo")
    assert ran.exit_code == 0, ran.stdout
    assert time.monotonic() - began < 40
    for number in range(1, 6):
        assert f"Flow {number}: " in ran.stdout
    assert "  $ queuectl enqueue --id job-success" in ran.stdout
    assert "✓" in ran.stdout
    assert "✗" not in ran.stdout
    assert not list(tmp_path.glob("queuectl-demo-*"))
    assert "Next steps:\n" in ran.stdout
    assert "  $ queuectl enqueue -- echo hello" in ran.stdout.partition("Next steps:")[2]


def test_no_place_for_temporary_files(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and names the variable that helps."""

    def fail(**_: object) -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "mkdtemp", fail)
    ran = run("demo")
    expected = "no temporary queue can be created (No usable temporary directory found in ['/tmp']); set TMPDIR"
    assert (ran.exit_code, ran.stdout, ran.stderr) == (3, "", f"queuectl: {expected}\n")


def test_next_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's ``activate`` comes first if ``queuectl`` cannot be typed, and only then."""
    (tmp_path / "an environment/bin").mkdir(parents=True)
    activate = tmp_path / "an environment/bin/activate"
    activate.touch()
    monkeypatch.setattr("sys.prefix", str(activate.parent.parent))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"  $ source '{activate}'" in list(demo.next_steps())
    (tmp_path / "queuectl").touch(0o755)
    assert not [line for line in demo.next_steps() if "activate" in line]


def test_failing_flow(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed check or command is marked, the other flows run, and the exit code is 1."""

    def failing(demo: Demo) -> None:
        demo.check("one and one are three", ok=False)

    def refused(demo: Demo) -> None:
        demo.run("config set nothing 1")

    def fine(demo: Demo) -> None:
        demo.run("status")

    monkeypatch.setattr(demo, "FLOWS", (("fails", failing), ("is refused", refused), ("is fine", fine)))
    ran = run("demo")
    assert ran.exit_code == 1
    assert "✗ one and one are three" in ran.stdout
    assert "✗ setting 'nothing' is unknown" in ran.stdout
    assert "$ queuectl status" in ran.stdout
    assert "2 check(s) failed" in ran.stdout
