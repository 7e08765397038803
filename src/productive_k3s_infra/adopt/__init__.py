"""A cluster that runs, written as a cluster file."""
