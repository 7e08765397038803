"""The only code that changes anything on a host or in its cluster."""
