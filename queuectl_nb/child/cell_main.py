"""The main module of a cell in processes that multiprocessing starts by spawn or forkserver.

Importing it runs the cell again, as multiprocessing imports the file of a program. It must contain no other names.
"""

from queuectl_nb.child import main_module as __module
from queuectl_nb.child.cell import run_again as __run_again

if __module.received is not None:
    __spec__.name = __module.received  # for the processes that this one starts
    __run_again(__module.received.request, globals())
