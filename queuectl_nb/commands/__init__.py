"""The click command tree of console and magic: commands parse arguments and return results; they print nothing."""
