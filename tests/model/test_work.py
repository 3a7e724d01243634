"""What a job runs, from its command or call."""

from __future__ import annotations

import pytest

from queuectl_nb.model.work import find_numbers, work_names


def test_names_of_work() -> None:
    """Values and options do not name the work, unless nothing else does."""
    assert work_names("command", "CUDA_VISIBLE_DEVICES=1 python train.py --lr 0.1")[-1].endswith("python train.py")
    assert work_names("command", "process alice")[-1] == "process"
    assert work_names("notebook", "run.ipynb(lr=0.1)") == ("run.ipynb()",)


@pytest.mark.parametrize(
    ("command", "numbers"),
    [
        (
            "python3 train.py --lr=1e-3 --size 20 -n -2.5 -s 0.025881604692589544 --model resnet50",
            (1e-3, 20, -2.5, 0.025881604692589544),
        ),
        ("fit(size=20, depth=None, rates=[1, 2])", (20, 1, 2)),
        ("run part-3.txt v1.2.3 0x1f 12345678901234567890", (3,)),
        ("true", ()),
    ],
)
def test_numbers(command: str, numbers: tuple[float, ...]) -> None:
    """Parts of names and versions are none."""
    assert find_numbers(command) == numbers
