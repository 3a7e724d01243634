"""Generate the parts of the documentation that come from the code: ``python -m docs.generate``."""

from docs.generate.pages import expected

__all__ = ["expected"]
