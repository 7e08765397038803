"""Reports: results of checks, merged from hosts and from this computer."""
