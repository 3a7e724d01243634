"""The web page and its read-only API: tornado handlers for the stand-alone server and Jupyter Server."""
