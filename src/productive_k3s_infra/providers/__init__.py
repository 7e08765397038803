"""Code that makes hosts exist or finds them. Providers do not know each other."""
