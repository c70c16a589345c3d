"""Several processes that serve the same edges: a parent, a control process, and a worker on each core."""
