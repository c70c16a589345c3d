"""``trioedge demo``: an edge with upstream, clients and control plane of its own."""
