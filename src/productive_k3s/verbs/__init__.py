"""One module per verb: `run` does it on a host, given by its doors, and returns the result."""
