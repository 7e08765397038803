"""Where the hosts of one cluster are: names, roles, endpoints, host keys. No wishes, no observations."""
