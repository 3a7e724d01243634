"""The faces: console, notebook and web. None imports another."""
