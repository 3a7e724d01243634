"""The web page and its API: tornado handlers that only read, for a server of our own and for Jupyter's."""
