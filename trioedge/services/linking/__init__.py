"""The link of one run of an edge to its control plane, and the part of the chain that judges devices."""
