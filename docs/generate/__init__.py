"""Writes what the documentation takes from the code, or checks that it is current: ``python -m docs.generate``."""

from docs.generate.pages import expected

__all__ = ["expected"]
