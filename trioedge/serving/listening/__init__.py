"""The listening sockets of an edge: its own, and those that policies name."""
