"""Release artifacts (get, verify, cache) and the host program as one reproducible file."""
