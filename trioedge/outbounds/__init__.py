"""Floor 2: the ways out of this machine."""
