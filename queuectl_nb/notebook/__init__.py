"""The notebook: the command tree as magics, whose answers are frames, jobs and pools that show themselves."""
