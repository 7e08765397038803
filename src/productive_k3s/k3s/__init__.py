"""PURE: what a K3s is upstream, and what is written for it."""
