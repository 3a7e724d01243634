"""The main module of a function job in processes that multiprocessing starts by spawn or forkserver.

It must contain no other names.
"""

from queuectl_nb.child import main_module as __module
from queuectl_nb.child.main_module import find_again as __getattr__  # noqa: F401

if __module.received is not None:
    __spec__.name = __module.received  # for the processes that this one starts
