"""Floor 1: trio and the core. Where sessions are accepted, connected, relayed and cut."""
