"""Starts the processes of Python jobs."""
