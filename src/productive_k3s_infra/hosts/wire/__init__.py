"""How the host program is delivered and spoken to."""
