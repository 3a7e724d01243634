"""Things that run: executor, worker, pool, supervisor, rescue. Synchronous; loads neither pandas nor click."""
