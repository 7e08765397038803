"""The bootstrap contract: installs and validates K3s on the host it runs on."""
