"""What goes into ``observers=[…]``: code that is told what an edge has done, and cannot change it."""
