"""The input of an estimate: its defaults, and what counts as the same work."""

from __future__ import annotations

import pytest

from queuectl_nb.model.workload import MIN_PROGRESS, Ended, RunningJob, WaitingJob, find_numbers, work_names


def test_an_ended_attempt() -> None:
    """An attempt has succeeded as the first one of its job, unless something else is said."""
    ended = Ended(2.0)
    assert (ended.failed, ended.first, ended.before, ended.numbers) == (False, True, None, ())


def test_a_running_job() -> None:
    """A running job is in the first and last of its attempts and belongs to the jobs that the estimate is for."""
    job = RunningJob("train", 3.0, None)
    assert (job.queue, job.progress, job.timeout_s) == ("default", None, None)
    assert (job.attempts_left, job.first, job.before, job.selected, job.id) == (0, True, None, True, "")
    assert (job.numbers, job.factor) == ((), 1.0), "no numbers, so it takes as long as others"
    assert (job.numbers, job.factor) == ((), 1)


def test_a_waiting_job() -> None:
    """A waiting job is one job with one attempt, due at once, that waits for no other."""
    job = WaitingJob("train", (0.0, 1.0))
    assert (job.queue, job.weight, job.due_s, job.attempts_left) == ("default", 1, 0, 1)
    assert (job.before, job.selected, job.id, job.after) == (None, True, "", ())
    assert (job.numbers, job.factor) == ((), 1.0)
    assert (job.numbers, job.factor) == ((), 1)


def test_attempts_are_ordered_by_run_time() -> None:
    """Run times are drawn by rank, so attempts sort by the seconds that they took."""
    assert min([Ended(3.0), Ended(1.0, failed=True), Ended(2.0, first=False)]).seconds == 1.0


def test_progress_that_is_too_small() -> None:
    """Three per cent of a run are enough to say how long the rest takes."""
    assert MIN_PROGRESS == 0.03


def test_names_of_work() -> None:
    """Values and options do not name the work, unless nothing else does."""
    assert work_names("command", "CUDA_VISIBLE_DEVICES=1 python train.py --lr 0.1")[-1].endswith("python train.py")
    assert work_names("command", "process alice")[-1] == "process"
    assert work_names("notebook", "run.ipynb(lr=0.1)") == ("run.ipynb()",)


@pytest.mark.parametrize("program", ["/usr/bin/python3.11", "bash", "conda", "time", "node", "make", "papermill"])
def test_a_program_that_runs_anything_is_no_work(program: str) -> None:
    """Its name alone does not say what runs; that of any other program does."""
    assert work_names("command", f"{program} alice") == (f"{program} alice",)
    assert work_names("command", "process alice") == ("process alice", "process")


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
