"""The only package with SQL: the SQLite file of a queue, and the spool of output beside it."""
