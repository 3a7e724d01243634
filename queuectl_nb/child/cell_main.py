"""The main module of a cell in processes that multiprocessing starts by spawn or forkserver.

Importing it runs the cell again, as multiprocessing imports the file of a program. It must contain no other names.
"""

import sys

from queuectl_nb.child.cell import run_again
from queuectl_nb.child.main_module import JobArguments

if isinstance(sys.argv, JobArguments):  # not if the cell has replaced it
    run_again(sys.argv, globals())
