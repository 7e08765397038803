"""The cluster file: text to a validated ClusterSpec, all mistakes at once."""
