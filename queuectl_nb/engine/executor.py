"""Errors that say why an executor has not started a command."""

__all__ = ["CannotStart", "ForkServerFailed", "LeaseLost", "NoResources"]


class CannotStart(Exception):
    """The job cannot be started; ``final`` says that this will not change."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


class NoResources(Exception):
    """No disk space, memory or processes available at the moment; the attempt should be released."""


class LeaseLost(Exception):
    """A rescuer settled the attempt before it started."""


class ForkServerFailed(Exception):
    """The fork server has ended or does not answer; it may have forked the process of the job."""
