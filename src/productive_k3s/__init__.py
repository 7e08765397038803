"""The bootstrap contract: installs and validates K3s on the host it runs on."""

__version__ = "0.1.0"
