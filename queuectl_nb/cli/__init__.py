"""The console: runs commands, shows results, maps errors to one line and an exit code."""
