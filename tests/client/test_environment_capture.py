"""The recorded directory and environment: what cannot be stored is refused in one line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from queuectl_nb import BadInput

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb import Queue


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system has no such names")
def test_directory_with_invalid_utf8(queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job cannot be enqueued from such a directory, unless it names another one."""
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/d\xff")
    os.mkdir(odd)
    monkeypatch.chdir(odd)
    for cwd in (None, ".", odd):
        with pytest.raises(BadInput, match="not valid UTF-8"):
            queue.enqueue("true", cwd=cwd)
    assert queue.enqueue("true", cwd=tmp_path).cwd == str(tmp_path)
    assert sum(queue.store.reader.counts().values()) == 1
