"""What is told while an operation runs."""
