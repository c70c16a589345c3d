"""PolicyUpstreams: names, addresses, connections, and the ways out of this machine."""
