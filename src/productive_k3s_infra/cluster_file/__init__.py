"""The cluster file, read into values."""
