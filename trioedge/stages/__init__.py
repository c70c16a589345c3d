"""Floor 2: the stages that come with trioedge, one a file."""
