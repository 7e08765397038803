"""The only ways out of this program: the host, the Kubernetes API."""
