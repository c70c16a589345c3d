"""``trioedge demo``: edges with an upstream, clients and a control plane of their own."""
