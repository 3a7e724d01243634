"""Everything that runs: executors, workers, supervisors, rescuers. Synchronous; loads neither pandas nor click."""
