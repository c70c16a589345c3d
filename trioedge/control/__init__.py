"""Control planes: who says which services there are, and what holds for them."""
