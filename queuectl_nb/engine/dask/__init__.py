"""Runs jobs on a dask cluster: a dispatcher on the host of the queue, agents and runners beside the dask workers."""
