"""Several workers that serve the same edges: the control process's hub, and each worker's connection to it."""
