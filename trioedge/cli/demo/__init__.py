"""``trioedge demo``: an edge with an upstream, clients and a control plane of its own."""
