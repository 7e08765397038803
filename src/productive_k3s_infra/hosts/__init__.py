"""Speaking to hosts: one seam, one connection per host, one call per step."""
