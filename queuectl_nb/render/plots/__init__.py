"""Pictures of a queue's history, drawn with matplotlib where it is installed."""
