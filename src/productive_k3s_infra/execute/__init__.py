"""Runs a plan: order, parallelism, events."""
