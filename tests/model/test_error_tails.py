"""Realistic ends of the output of failed programs: the line that says why, and what counts as the same failure."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.error_groups import ErrorGroup, group_of
from queuectl_nb.model.failure import describe, read_message
from queuectl_nb.model.outcome import Exited


class Tail(NamedTuple):
    """The end of a program's output, and the error that is read from it."""

    error: str
    stderr: str = ""
    stdout: str = ""
    frame: str = ""
    """The function of the user's own innermost frame."""


PYTEST = """\
============================= test session starts ==============================
platform linux -- Python 3.11.7, pytest-8.3.3, pluggy-1.5.0
rootdir: /home/ann/project
collected 3 items

tests/test_model.py ..F                                                  [100%]

=================================== FAILURES ===================================
_________________________________ test_fit[3] __________________________________

    def test_fit(n):
>       assert fit(n) == 2
E       assert 1 == 2
E        +  where 1 = fit(3)

tests/test_model.py:12: AssertionError
=========================== short test summary info ============================
FAILED tests/test_model.py::test_fit[3] - assert 1 == 2
========================= 1 failed, 2 passed in 0.12s ==========================
"""

TAILS = {
    "pytest": Tail(
        "FAILED tests/test_model.py::test_fit[3] - assert 1 == 2",
        stdout=PYTEST,
    ),
    "pytest after a warning": Tail(
        "FAILED tests/test_model.py::test_fit[3] - assert 1 == 2",
        """\
/usr/lib/python3/dist-packages/x.py:3: DeprecationWarning: old
  warn()
""",
        stdout=PYTEST,
    ),
    "pytest, not collected": Tail(
        "ERROR tests/test_model.py",
        stdout="""\
==================================== ERRORS ====================================
____________________ ERROR collecting tests/test_model.py ______________________
ImportError while importing test module '/home/ann/tests/test_model.py'.
Hint: make sure your test modules/packages have valid Python names.
Traceback:
/usr/lib/python3.11/importlib/__init__.py:126: in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
tests/test_model.py:1: in <module>
    import nothing
E   ModuleNotFoundError: No module named 'nothing'
=========================== short test summary info ============================
ERROR tests/test_model.py
!!!!!!!!!!!!!!!!!!!! Interrupted: 1 error during collection !!!!!!!!!!!!!!!!!!!!
=============================== 1 error in 0.08s ===============================
""",
    ),
    "torchrun, out of memory": Tail(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        """\
[rank1]: Traceback (most recent call last):
[rank1]:   File "/home/ann/train.py", line 9, in step
[rank1]:     loss.backward()
[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
[rank0]:[W1128 08:00:00.000 ProcessGroupNCCL.cpp:1250] Warning: process group has NOT been destroyed
Traceback (most recent call last):
  File "/opt/venv/lib/python3.11/site-packages/torch/distributed/launcher/api.py", line 264, in launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
""",
        frame="step",
    ),
    "pip": Tail(
        "ERROR: No matching distribution found for torhc",
        """\
ERROR: No matching distribution found for torhc

[notice] A new release of pip is available: 23.2.1 -> 24.3.1
[notice] To update, run: pip install --upgrade pip
""",
    ),
    "R": Tail(
        "Error in fit(x, rate = 0.1) : object 'alpha' not found",
        """\
Loading required package: Matrix
Error in fit(x, rate = 0.1) : object 'alpha' not found
Calls: main -> fit
Execution halted
""",
    ),
    "R, rlang": Tail(
        "! object 'y' not found",
        """\
Error in `mutate()`:
Caused by error:
! object 'y' not found
Backtrace:
     ▆
  1. ├─base::source("fit.R")
  2. └─dplyr:::mutate.data.frame(.data, z = x/y)
Execution halted
""",
    ),
    "R, two lines": Tail(
        "no lines available in input",
        """\
Error in read.table(file = file, header = header, sep = sep, quote = quote,  :
  no lines available in input
Calls: read.csv -> read.table
Execution halted
""",
    ),
    "bash": Tail(
        "cp: cannot stat '/data/run-7/in.csv': No such file or directory",
        """\
cp: cannot stat '/data/run-7/in.csv': No such file or directory
""",
    ),
    "bash, unbound variable": Tail(
        "job.sh: line 12: RATE: unbound variable",
        """\
job.sh: line 12: RATE: unbound variable
""",
    ),
    "CUDA in Python": Tail(
        "RuntimeError: CUDA error: device-side assert triggered",
        """\
Traceback (most recent call last):
  File "/home/ann/train.py", line 88, in <module>
    main()
  File "/home/ann/train.py", line 61, in train_step
    loss.backward()
  File "/opt/venv/lib/python3.11/site-packages/torch/_tensor.py", line 525, in backward
    torch.autograd.backward(
  File "/opt/venv/lib/python3.11/site-packages/torch/autograd/__init__.py", line 267, in backward
    _engine_run_backward(
RuntimeError: CUDA error: device-side assert triggered
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1.
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.

""",
        frame="train_step",
    ),
    "CUDA, out of memory": Tail(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        """\
Traceback (most recent call last):
  File "/home/ann/train.py", line 61, in forward
    return self.net(x)
  File "/opt/venv/lib/python3.11/site-packages/torch/nn/modules/module.py", line 1553, in _wrapped_call_impl
    return self._call_impl(*args, **kwargs)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
""",
        frame="forward",
    ),
    "CUDA in C": Tail(
        'CUDA error at solver.cu:88 code=700(cudaErrorIllegalAddress) "cudaDeviceSynchronize()"',
        """\
CUDA error at solver.cu:88 code=700(cudaErrorIllegalAddress) "cudaDeviceSynchronize()"
""",
    ),
    "Open MPI, aborted": Tail(
        "MPI_ABORT was invoked on rank 3 in communicator MPI_COMM_WORLD",
        """\
--------------------------------------------------------------------------
MPI_ABORT was invoked on rank 3 in communicator MPI_COMM_WORLD
with errorcode 17.

NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.
You may or may not see output from other processes, depending on
exactly when Open MPI kills them.
--------------------------------------------------------------------------
""",
    ),
    "Open MPI, exit code": Tail(
        "solver: cannot open mesh /data/mesh-3.dat",
        """\
solver: cannot open mesh /data/mesh-3.dat
--------------------------------------------------------------------------
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
--------------------------------------------------------------------------
--------------------------------------------------------------------------
mpirun detected that one or more processes exited with non-zero status, thus causing
the job to be terminated. The first process to do so was:

  Process name: [[21190,1],2]
  Exit code:    3
--------------------------------------------------------------------------
""",
    ),
    "mpi4py": Tail(
        "mpi4py.MPI.Exception: MPI_ERR_TRUNCATE: message truncated",
        """\
Traceback (most recent call last):
  File "/home/ann/solve.py", line 30, in exchange
    comm.Recv(buffer, source=1)
  File "src/mpi4py/MPI.src/Comm.pyx", line 423, in mpi4py.MPI.Comm.Recv
mpi4py.MPI.Exception: MPI_ERR_TRUNCATE: message truncated
--------------------------------------------------------------------------
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
--------------------------------------------------------------------------
""",
        frame="exchange",
    ),
    "MPICH": Tail(
        "Abort(5) on node 2 (rank 2 in comm 0): application called MPI_Abort(MPI_COMM_WORLD, 5) - process 2",
        """\
Abort(5) on node 2 (rank 2 in comm 0): application called MPI_Abort(MPI_COMM_WORLD, 5) - process 2
===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 4242 RUNNING AT node7
=   EXIT CODE: 5
=   CLEANING UP REMAINING PROCESSES
=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES
===================================================================================
""",
    ),
    "Slurm": Tail(
        "solver: residual is nan at step 812",
        """\
solver: residual is nan at step 812
srun: error: node7: task 3: Exited with exit code 2
srun: Terminating StepId=4123.0
slurmstepd: error: *** STEP 4123.0 ON node7 CANCELLED AT 2026-11-30T09:00:00 ***
""",
    ),
}
"""The innermost frames in libraries and the notes of launchers come after what the program said."""


def read(tail: Tail) -> tuple[str | None, ErrorGroup | None]:
    """Return error and group of an attempt whose output ends like this."""
    outcome = Exited(1)
    message = read_message(outcome, Ending(0.0, stdout=tail.stdout, stderr=tail.stderr))
    error = describe(outcome, message)
    return error, group_of(outcome, message, error or "")


@pytest.mark.parametrize("name", TAILS)
def test_error(name: str) -> None:
    """The error is the last line that says why; it groups runs that differ by numbers, and by the function."""
    tail = TAILS[name]
    error, group = read(tail)
    assert error == f"exit code 1: {tail.error}"
    assert group is not None
    other = tail._replace(**{field: re.sub(r"\d", "7", getattr(tail, field)) for field in ("stderr", "stdout")})
    assert read(other)[1] == group
    if tail.frame:
        assert group.reason == ("gpu_oom" if "out of memory" in name else "exception")
        assert read(tail._replace(stderr=tail.stderr.replace(f"in {tail.frame}", "in other")))[1] != group
    else:
        assert group.reason == "exit"
        assert group != read(Tail(""))[1]
