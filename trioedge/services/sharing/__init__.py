"""Numbers of an edge that several workers keep together."""
