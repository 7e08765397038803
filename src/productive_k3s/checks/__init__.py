"""Validation of a host and of its cluster, seen from here."""
