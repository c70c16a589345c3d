"""``trioedge top``: a serving edge on a terminal, as it is now and was in the last minutes."""
