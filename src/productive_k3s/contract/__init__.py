"""What travels between the two programs: requests, facts, changes, results, failures."""
