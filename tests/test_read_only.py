"""Check that the suite cannot write outside its temporary folders when tests/run_all.sh runs it as root."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

PLACES = [place for place in os.environ.get("QUEUECTL_TEST_READ_ONLY", "").split(":") if place]


@pytest.mark.skipif(not PLACES, reason="not run by tests/run_all.sh as root")
@pytest.mark.parametrize("place", PLACES)
def test_places_outside_are_read_only(place: str) -> None:
    """Tests cannot create files in ``/etc`` or in the home directory of the user."""
    with pytest.raises(OSError) as refused:  # noqa: PT011 - its number is checked
        os.open(Path(place) / "queuectl-test", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    assert refused.value.errno == errno.EROFS


def test_the_home_directory_is_temporary(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests do not use the home directory of the user."""
    assert Path.home().is_relative_to(tmp_path_factory.getbasetemp())
