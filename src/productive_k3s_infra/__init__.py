"""The orchestration: provisions machines, orders the bootstrap of a K3s cluster over many hosts, and validates it."""
