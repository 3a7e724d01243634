"""The way to a dask cluster: a dispatcher's crew on the queue's host, agents and guards beside dask's workers."""
