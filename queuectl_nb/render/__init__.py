"""Renders records as JSON, CSV, DataFrames, text, HTML and plots. Reads the store; prints nothing."""
