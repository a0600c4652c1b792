"""One module a command; each has `add` (its words and its help) and `run` (what it does, returning the exit code)."""
