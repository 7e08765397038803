"""Arguments in, text out. The only place that prints or exits."""
