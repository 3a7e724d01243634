"""A user's script, type-checked against the installed wheel by tests/test_distribution.py. It is never run."""

from typing import assert_type

import pandas as pd

from queuectl_nb import BadInput, Job, JobFailed, Queue, QueuectlError, State, WaitTimeout


def train(queue: Queue, frame: pd.DataFrame) -> list[str]:
    """Enqueue a sweep, run it, and return the ids of the jobs that died."""
    first = queue.enqueue("python train.py", priority=5, timeout=3600, tags=["sweep"])
    assert_type(first, Job)
    batch = queue.enqueue_many("python train.py {lr}", frame, after=[first])
    for job in batch:
        assert_type(job, Job)
    with queue.start_workers(2) as pool:
        assert_type(pool.pid, int)
        assert_type(queue.wait(*batch.ids, timeout=60), dict[State, int])
    assert_type(queue.results(frame), pd.DataFrame)
    assert_type(queue.jobs(state="dead"), pd.DataFrame)
    return [job.id for job in batch if job.state is State.DEAD]


async def run(queue: Queue) -> str:
    """Wait for a job on an event loop."""
    job = await queue.enqueue("echo hello")
    assert_type(job, Job)
    return job.log()


def main() -> int:
    """Handle the public errors."""
    queue = Queue("experiments.db")
    try:
        queue.enqueue("false").wait(timeout=1, check=True)
    except WaitTimeout as late:
        timeout: TimeoutError = late
        raise timeout from None
    except (BadInput, JobFailed) as error:
        failure: QueuectlError = error
        return failure.exit_code
    return 0
