"""The console: runs the command tree, shows what it returns, turns errors into one line and an exit code."""
