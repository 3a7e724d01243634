"""The check of a refused value that the tests of validation share."""

from __future__ import annotations

import pytest

from queuectl_nb.model.errors import BadInput

__all__ = ["refusal"]


def refusal(call: object, *args: object) -> str:
    """Expect a refusal and return its message: one short printable ASCII line."""
    with pytest.raises(BadInput) as caught:
        call(*args)  # type: ignore[operator]
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert 0 < len(message) < 250
    return message
