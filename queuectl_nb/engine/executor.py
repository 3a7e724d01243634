"""Why an executor has not started a command."""

__all__ = ["CannotStart", "LeaseLost", "NoResources"]


class CannotStart(Exception):
    """The command cannot be started."""


class NoResources(Exception):
    """No disk space, memory or processes available at the moment; the attempt should be released."""


class LeaseLost(Exception):
    """A rescuer settled the attempt before it started."""
