"""What an estimate takes for granted about jobs of which only the necessary is known."""

from __future__ import annotations

from queuectl_nb.model.workload import MIN_PROGRESS, Ended, RunningJob, WaitingJob


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
