"""Simulated doors: the host program runs over them as it runs on a host."""
