"""The live dashboard of a notebook."""
