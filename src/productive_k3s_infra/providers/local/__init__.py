"""Machines on this computer: systemd-nspawn, one bridge and one network per set."""
