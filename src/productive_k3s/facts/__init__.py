"""What is true on this host and, on a server, of its cluster. Models are pure; probes use the doors."""
