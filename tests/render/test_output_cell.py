"""Outputs of a notebook that are written again."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.render.output_cell import OutputCell


class Publisher:
    """Records whether each output is an update; afterwards raises ``error``, if there is one."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.updates: list[bool] = []

    def publish(self, *_: object, update: bool, **_options: Any) -> None:
        self.updates.append(update)
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "updates"), [(None, [False, True]), (KeyboardInterrupt(), [False, True]), (OSError(), [False, False])]
)
def test_first_output_that_is_interrupted(error: BaseException | None, updates: list[bool]) -> None:
    """It has been published, so it is updated from then on; one that could not be published is not."""
    publisher = Publisher(error)
    cell = OutputCell(publisher)
    for text in ("first", "second"):
        try:
            cell.write("", text)
        except (KeyboardInterrupt, OSError):
            publisher.error = None
    assert publisher.updates == updates
    assert cell.shown
