"""PURE: what a host shall be, and the changes that lead there."""
