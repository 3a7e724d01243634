"""The only room that speaks SQL: one SQLite file, and the spool of output beside it."""
