"""The provider `multipass`: virtual machines of Multipass on this computer."""
