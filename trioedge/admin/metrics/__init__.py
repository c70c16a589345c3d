"""Metrics of an edge for Prometheus: what one process counts, the sums of all processes, and the text."""
