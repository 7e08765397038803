"""Waits with a deadline and a diagnosed cause."""
