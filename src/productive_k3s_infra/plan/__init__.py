"""PURE: from spec and facts to steps."""
