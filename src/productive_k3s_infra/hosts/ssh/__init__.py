"""SSH, the one user of asyncssh."""
