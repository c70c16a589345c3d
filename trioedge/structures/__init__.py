"""Bounded data structures with more than one user. Pure."""
