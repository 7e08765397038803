"""What is looked at before anything changes."""
