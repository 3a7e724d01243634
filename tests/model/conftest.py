"""Property tests use fixed examples and no deadline, so that they pass on a busy machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("queuectl", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("queuectl")
