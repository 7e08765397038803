"""Sessions with hosts, whatever lies under them."""
