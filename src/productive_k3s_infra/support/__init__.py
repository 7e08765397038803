"""A bundle for whoever shall help: what is in it, without secrets."""
